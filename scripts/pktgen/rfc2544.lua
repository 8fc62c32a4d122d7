-- Searches the highest rate of frames that pass without loss (RFC 2544 26.1), by frame size: port 0 sends, port 1 receives.
--
-- For Pktgen-DPDK 23.03.0, built with -Denable_lua=true against DPDK 22.11 and Lua 5.4. With the engine (or testpmd) between two NICs,
-- whose cables lead to two NICs that are bound to vfio-pci here:
--
--   TARGET_MAC=02:00:00:00:00:99 pktgen -l 0-2 -a 0000:03:00.0 -a 0000:03:00.1 -- -P -m "1.0, 2.1" -f scripts/pktgen/rfc2544.lua
--
-- and then read /tmp/pktgen-results.txt. Settings, from the environment:
--   TARGET_MAC   whom the frames are for
--   TARGET       the IPv4 address that they are for; default 198.19.0.1. Port 443, from 1000 clients in 198.18.0.0/16
--   PROTOCOL     tcp (segments of connections that nobody has seen begin; the default) or udp
--   SIZES        bytes, FCS included; default: 64 128 256 512 1024 1280 1518
--   SECONDS      of a trial; default 10 (RFC 2544 wants 60)
--   LOSS         share of the frames that counts as none; default 0
--   RESOLUTION   how near two rates may be where the search ends; default 0.02
--   RATE         frames a second: only this rate is tried; default 0, search
--   RESULTS      the file; default /tmp/pktgen-results.txt
local common = dofile(debug.getinfo(1, "S").source:match("@?(.*/)") .. "common.lua")

local seconds = tonumber(common.setting("SECONDS", "10"))
local allowed = tonumber(common.setting("LOSS", "0"))
local resolution = tonumber(common.setting("RESOLUTION", "0.02"))
local only_rate = tonumber(common.setting("RATE", "0"))
-- How often a rate is tried before its loss counts, and how many trials a size has.
local TRIES, TRIALS = 2, 12

local function range(name, start, step, last)
    local set = pktgen.range[name]
    set("0", "start", start)
    set("0", "inc", step)
    set("0", "min", start)
    set("0", "max", last)
end

local function frames(size)
    pktgen.set("0", "size", size)
    pktgen.range.dst_mac("0", "start", common.setting("TARGET_MAC"))
    local target = common.setting("TARGET", "198.19.0.1")
    range("src_ip", "198.18.0.1", "0.0.0.1", "198.18.3.232")
    range("dst_ip", target, "0.0.0.0", target)
    range("src_port", 20000, 0, 20000)
    range("dst_port", 443, 0, 443)
    range("pkt_size", size, 0, size)
    pktgen.range.ip_proto("0", common.setting("PROTOCOL", "tcp"))
    pktgen.set_range("0", "on")
end

-- Tries a rate. Returns whether it was lossless, and frames a second as they were sent.
local function try(size, rate)
    local offered
    for _ = 1, TRIES do
        local took, sent, received = common.send(rate, size, seconds, "1")
        common.tell("trial %d %.0f %.3f %d %d", size, rate or 0, took, sent, received)
        offered = sent / took
        if sent > 0 and sent - received <= sent * allowed then
            return true, offered
        end
    end
    return false, offered
end

local function search(size)
    if only_rate > 0 then
        local good, offered = try(size, only_rate)
        return good and offered or 0
    end
    local good, high = try(size, nil)
    if good then
        return high
    end
    local low, best, guess = 0, 0, high * 0.95
    for _ = 2, TRIALS do
        if high - low <= resolution * high then
            break
        end
        local lossless, offered = try(size, guess)
        if lossless then
            low, best = guess, math.max(best, offered)
        else
            high = guess
        end
        guess = (low + high) / 2
    end
    return best
end

pktgen.screen("off")
pktgen.set("0", "burst", 32)
local found = {}
for size in common.setting("SIZES", "64 128 256 512 1024 1280 1518"):gmatch("%d+") do
    size = tonumber(size)
    frames(size)
    -- Flows and caches: not part of any trial.
    common.send(5000, size, 0.3, "1")
    found[#found + 1] = { size, search(size), common.line_rate("0", size) }
end
common.tell("\n| size | lossless frames/s | of the line rate |\n|---|---|---|")
for _, line in ipairs(found) do
    common.tell("| %d | %.0f | %.1f %% |", line[1], line[2], line[2] / line[3] * 100)
end
pktgen.quit()
