-- wrk's script: one object, random ranges of it, or one object after the other, and the outcome as
-- one line of JSON. Arguments: nothing; `ranges`, the object's length, the range's length, and what
-- its start is a multiple of; or `names`, a path with %d in it, after how many to begin anew, and how
-- many threads there are, of which each takes its share.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

local function ranges(length, size, step)
  local last = math.floor((length - size) / step)
  math.randomseed(number) -- the same ranges for all servers, others in each thread
  return function()
    local start = math.random(0, last) * step
    wrk.headers["Range"] = string.format("bytes=%d-%d", start, start + size - 1)
    return wrk.format()
  end
end

local function names(path, count, step)
  local next = number - 1
  return function()
    local name = string.format(path, next % count)
    next = next + step
    return wrk.format(nil, name)
  end
end

function init(args)
  if args[1] == "ranges" then
    wrk.request = ranges(tonumber(args[2]), tonumber(args[3]), tonumber(args[4]))
  elseif args[1] == "names" then
    wrk.request = names(args[2], tonumber(args[3]), tonumber(args[4]))
  end
  request = wrk.request
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %f, "bytes": %.0f, "errors": %d, "p50": %f, "p99": %f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
