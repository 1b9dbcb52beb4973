-- SPDX-License-Identifier: MIT
-- The requests of the benchmark, made before wrk starts its clock:
--
--   wrk -t2 -c64 -d5s -s bench/wrk.lua http://127.0.0.1:8080 -- NAME=VALUE...
--
-- read and write are requests in which $key, $value, $key64 and $value64 stand for those of bench/pair.h and their base64;
-- writes is the percentage of requests that write; prefix, keys, size, seed as in bench/rate.c.
--
-- Each thread draws its own random keys and sends its requests in turn. The last ten digits of what it writes are the
-- seed (4), the thread (1) and how often it has been through its requests (5), so that no write leaves a value as it was.
-- At the end a line `wrote KEY` names some keys that were written in this run, for the caller to read back. wrk counts by
-- itself the answers that are errors.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

local REQUESTS = 100000 -- of a thread, before they come again
local BYTES = 64000000  -- or so many of them: LuaJIT has little room
local EVERY = 97        -- requests, the key of a write is remembered

local keys = {}  -- of the requests that write, false for others
local heads = {} -- the request, of a write that before the digits
local turn, pass = 0, 0
local digits_of  -- what stands between the head of a write and its end
local tail       -- digits and end, in this pass
local later = {} -- a key, until it is sure that its write was answered
wrote = {}       -- global because that is where done() can find it

local function base64(text)
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  return (text:gsub("..?.?", function(three)
    local a, b, c = three:byte(1, 3)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    local out = ""
    for shift = 18, 0, -6 do
      local i = math.floor(bits / 2 ^ shift) % 64 + 1
      out = out .. letters:sub(i, i)
    end
    return out:sub(1, #three + 1) .. ("="):rep(3 - #three)
  end))
end

local function options_of(args)
  local o = { writes = 0, prefix = "key:", keys = 200000, size = 100, seed = 1 }
  for _, argument in ipairs(args) do
    local name, value = argument:match("^(%l+)=(.*)$")
    assert(name, "what is " .. argument .. "?")
    o[name] = tonumber(value) or value
  end
  return o
end

-- Cuts a write at its value: what comes before and behind, and how a value is written.
local function cut(write)
  local head, name, behind = write:match("^(.-)($value6?4?)(.*)$")
  return head, behind, name == "$value64" and base64 or function(text) return text end
end

local function begin_pass(o, behind)
  tail = digits_of(string.format("%04d%d%05d", o.seed, number, pass)) .. behind
end

function init(args)
  local o = options_of(args)
  local head, behind, encode
  if o.writes > 0 then
    head, behind, encode = cut(o.write)
  end
  digits_of = encode
  math.randomseed(o.seed * 1000 + number)
  local count = math.min(REQUESTS, math.floor(BYTES / (o.size + 200)))
  for i = 1, count do
    local key = string.format("%s%06d", o.prefix, math.random(0, o.keys - 1))
    local function named(name) return name == "$key" and key or base64(key) end
    keys[i] = math.random(0, 99) < o.writes and key
    if keys[i] then
      heads[i] = head:gsub("$key6?4?", named) .. encode(key:rep((o.size - 10) / 10))
    else
      heads[i] = o.read:gsub("$key6?4?", named)
    end
  end
  if o.writes > 0 then
    begin_pass(o, behind)
  end
  function request()
    turn = turn + 1
    if turn > #heads then
      turn, pass = 1, pass + 1
      if tail then
        begin_pass(o, behind)
      end
    end
    local key = keys[turn]
    if not key then
      return heads[turn]
    end
    if turn % EVERY == 0 then
      wrote[#wrote + 1] = later[1]
      later[1] = key
    end
    return heads[turn] .. tail
  end
end

function done()
  for _, thread in ipairs(threads) do
    for _, key in ipairs(thread:get("wrote")) do
      print("wrote " .. key)
    end
  end
end
