-- SPDX-License-Identifier: MIT
-- The requests of the benchmark, made before wrk starts its clock:
--
--   wrk -t2 -c64 -d5s -s bench/wrk.lua http://127.0.0.1:8080 -- get|put [check] [seed=N] [requests=N] [keys=N]
--
-- Each thread draws its own random keys (key:000000 and so on; a value is its key nine times, then ten digits that are
-- those of the seed) and sends them in turn. wrk counts by itself the answers that are errors.
--
-- With `check` every answer is compared with what was asked, and the end is a line `checked: wrong=0 200=4711`. That costs
-- wrk much time, so it is for runs that are not measured. It knows of one request a thread: the threads (-t) have to be
-- as many as the connections (-c).

local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

local asked = {}     -- the keys, in order
local requests = {}  -- the same as bytes to send
local turn = 0       -- of the last request that was sent
local method, body_of

-- The counters are global because that is where done() can find them.
statuses = {}
wrong = 0

local function options_of(args)
  local o = { method = args[1], seed = 1, requests = 100000, keys = 200000 }
  for i = 2, #args do
    local name, number = args[i]:match("^(%l+)=(%d+)$")
    if args[i] == "check" then
      o.check = true
    elseif name and type(o[name]) == "number" then
      o[name] = tonumber(number)
    else
      error("what is " .. args[i] .. "?")
    end
  end
  assert(o.method == "get" or o.method == "put", "get or put?")
  return o
end

function init(args)
  local o = options_of(args)
  method = o.method
  math.randomseed(o.seed * 1000 + number)
  local digits = string.format("%010d", o.seed)
  for i = 1, o.requests do
    local key = string.format("key:%06d", math.random(0, o.keys - 1))
    asked[i] = key
    if method == "put" then
      requests[i] = wrk.format("PUT", "/keys/" .. key, nil, key:rep(9) .. digits)
    else
      requests[i] = wrk.format("GET", "/keys/" .. key)
    end
  end
  if o.check then
    response = check
  else
    asked = nil
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

-- Every key is there before the run: a PUT replaces.
function check(status, headers, body)
  statuses[status] = (statuses[status] or 0) + 1
  local right
  if method == "put" then
    right = status == 204 and #body == 0
  else
    right = status == 200 and #body == 100 and body:sub(1, 90) == asked[turn]:rep(9)
  end
  if not right then
    wrong = wrong + 1
  end
end

function done()
  local total, sum = {}, 0
  for _, thread in ipairs(threads) do
    sum = sum + thread:get("wrong")
    for status, count in pairs(thread:get("statuses")) do
      total[status] = (total[status] or 0) + count
    end
  end
  if next(total) then
    local line = "checked: wrong=" .. sum
    for status, count in pairs(total) do
      line = line .. string.format(" %d=%d", status, count)
    end
    print(line)
  end
end
