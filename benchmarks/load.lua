-- wrk's script: one object, or random ranges of it, and the outcome as one line of JSON.
-- Arguments: nothing, or the object's length, the range's length, and what its start is a multiple of.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  if #args == 0 then return end
  local length, size, step = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  local last = math.floor((length - size) / step)
  math.randomseed(number) -- the same ranges for all servers, others in each thread
  function request()
    local start = math.random(0, last) * step
    wrk.headers["Range"] = string.format("bytes=%d-%d", start, start + size - 1)
    return wrk.format()
  end
  wrk.request = request
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %f, "bytes": %.0f, "errors": %d, "p50": %f, "p99": %f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
