-- Sends the frames of a capture file round and round from port 0: SYNs of spoofed clients, fragments, malformed frames.
--
-- For Pktgen-DPDK 23.03.0, built with -Denable_lua=true against DPDK 22.11 and Lua 5.4. scripts/pktgen.sh --write makes the files
-- (syn.pcap, fragments.pcap, malformed.pcap) for a target:
--
--   scripts/pktgen.sh --write /tmp 02:00:00:00:00:01 02:00:00:00:00:02 192.0.2.80
--   PCAP=/tmp/syn.pcap RATE=1000000 pktgen -l 0-1 -a 0000:03:00.0 -- -P -m 1.0 -s 0:/tmp/syn.pcap -f scripts/pktgen/flood.lua
--
-- and then read /tmp/pktgen-results.txt: "sent FRAMES SECONDS". Whether legitimate traffic goes on meanwhile is to be seen at its ends,
-- and what was dropped why in the engine's metrics. Settings, from the environment:
--   PCAP      the file that -s names
--   RATE      frames a second; default 10000
--   SECONDS   default 10
--   RESULTS   the file; default /tmp/pktgen-results.txt
local common = dofile(debug.getinfo(1, "S").source:match("@?(.*/)") .. "common.lua")

-- Pktgen reckons a rate by the mean size of the file's frames.
local function mean_size(path)
    local file = io.open(path, "rb")
    file:seek("set", 24)
    local frames, bytes = 0, 0
    while true do
        local header = file:read(16)
        if not header then
            break
        end
        local length = string.unpack("<I4", header, 9)
        frames, bytes = frames + 1, bytes + length
        file:seek("cur", length)
    end
    file:close()
    return bytes // frames
end

pktgen.screen("off")
pktgen.set("0", "burst", 32)
local rate, seconds = tonumber(common.setting("RATE", "10000")), tonumber(common.setting("SECONDS", "10"))
local took, sent = common.send(rate, mean_size(common.setting("PCAP")), seconds)
common.tell("sent %d %.2f", sent, took)
pktgen.quit()
