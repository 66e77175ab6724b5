-- Sends the requests of a file in turn, on every connection, and prints what came of it as one line of JSON.
-- The file: for each request its length in decimal, a line end, and its bytes. Run as wrk -s wrk.lua URL -- FILE.

local requests, turn = {}, 0

function init(args)
  local file = assert(io.open(args[1] or args[0], "rb"))
  local size = file:read("*n")
  while size do
    file:read(1)
    requests[#requests + 1] = file:read(size)
    size = file:read("*n")
  end
  file:close()
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "bytes": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
