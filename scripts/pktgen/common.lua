-- What the scripts share: settings from the environment, rates in frames a second, counts, results.
local common = {}

-- Preamble, start delimiter and gap of a frame.
local OVERHEAD = 20

function common.setting(name, default)
    local value = os.getenv(name) or default
    if value == nil then
        error("the environment needs " .. name .. "; the script's first lines say what it is")
    end
    return value
end

local results = io.open(common.setting("RESULTS", "/tmp/pktgen-results.txt"), "w")

-- Pktgen draws over its terminal: results go to a file.
function common.tell(...)
    results:write(string.format(...), "\n")
    results:flush()
end

-- Frames a second on the port's link.
function common.line_rate(port, size)
    local link = pktgen.linkState(port)[tonumber(port)]
    local mbits = tonumber(link:match("UP%-(%d+)")) or error("port " .. port .. " is " .. link)
    return mbits * 1e6 / 8 / (size + OVERHEAD)
end

-- Sends from port 0 for some seconds. `rate`: frames of `size` bytes (FCS included) a second, nil: as fast as it goes. `receiver`: the
-- port that counts, or nil. Returns seconds, frames sent, frames received.
function common.send(rate, size, seconds, receiver)
    local ports = receiver and "0," .. receiver or "0"
    local function counts()
        -- Pktgen reads the ports' counters once a second.
        pktgen.delay(1200)
        local stats = pktgen.portStats(ports, "port")
        return stats[0].opackets, receiver and stats[tonumber(receiver)].ipackets or 0
    end
    local function now()
        local file = io.open("/proc/uptime")
        local uptime = file:read("n")
        file:close()
        return uptime
    end
    pktgen.set("0", "rate", rate and math.min(100, rate / common.line_rate("0", size) * 100) or 100)
    local sent, received = counts()
    common.tell("sending")
    local began = now()
    pktgen.start("0")
    pktgen.delay(math.floor(seconds * 1000))
    pktgen.stop("0")
    local took = now() - began
    local sent_after, received_after = counts()
    return took, sent_after - sent, received_after - received
end

return common
