-- What every script is given, and what every script hands back.
--
-- KEYS, the same for all and with one hash tag, so that a cluster keeps them on one machine:
--    1 entries    hash        upload -> entry, packed (below)
--    2 leases     sorted set  uploads that hold a slot, by the fence of their grant: the order of the grants
--    3 deadlines  sorted set  every upload, by the moment at which its lease or place lapses
--    4 unclaimed  sorted set  grants that nobody has claimed yet, by the moment at which they go to the next
--    5 waiting    sorted set  the line; see line.lua for this and the next three
--    6 ready      sorted set
--    7 heads      sorted set
--    8 fronts     sorted set
--    9 granted    hash        person -> slots held
--   10 places     hash        person -> places in the line
--   11 released   hash        person, or '' for everybody -> moments of the latest releases, packed
--   12 nodes      hash        node -> its memory as reported last, packed; see memory.lua
--   13 promised   hash        node -> bytes of all windows promised on it
--   14 grants     hash        upload -> the lease as it was granted, packed: second books, for the check only
--   15 caps       hash        cap -> its highest values since the oldest lease, packed; see caps.lua
--   16 state      hash        run_id, recovers_at, caps, front
--   17 tickets    string      the last ticket
--   18 fences     string      the last fence
--   19 turns      string      the number of the latest answer that told somebody's standing
--
-- ARGV, the same for all; a verb's own begin at 13:
--    1 the caller's node, '' for one without uploads    7 the cap of a person
--    2 the caller's worker, '' for one without uploads  8 the limit of the line
--    3 bytes that the node has left for windows         9 milliseconds of a lease
--    4 bytes that all windows on it may come to        10 the last run of Redis that the caller knows of, '' for none
--    5 bytes of windows that the caller's uploads hold 11 milliseconds in which a grant must be claimed
--    6 the cap of all                                  12 places that a person may have
--
-- Every script returns {turn or 0, now, run, milliseconds of recovery left, slots held, changes, answer}; `changes` names
-- by turns the worker and the upload whose standing is another now, `answer` is the verb's own, packed: clients read ten
-- thousand values from one string much faster than one by one.
--
-- An entry: upload, owner, worker, person, node, window, ticket, front, paused, absent, stored_from, connected, since,
-- fence. It is a lease once its fence is above 0, a place otherwise; the fields mean what they do in entry.py. Moments
-- are milliseconds.

local ENTRIES, LEASES, DEADLINES, UNCLAIMED = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local WAITING, READY, HEADS, FRONTS = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local GRANTED, PLACES, RELEASED = KEYS[9], KEYS[10], KEYS[11]
local NODES, PROMISED, GRANTS, CAPS = KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local STATE, TICKETS, FENCES, TURNS = KEYS[16], KEYS[17], KEYS[18], KEYS[19]

local NODE, WORKER = ARGV[1], ARGV[2]
local NODE_FREE, NODE_CEILING, WORKER_HOLDS = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local MOST_OF_ALL, MOST_OF_A_PERSON, MOST_QUEUED = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local LEASE, KNOWN_RUN, CLAIM, MOST_PLACES = tonumber(ARGV[9]), ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12])
local OWN = 13

local now = clock()
local changes = {}

local function packed(hash, field)
  local value = redis.call('HGET', hash, field)
  return value and cmsgpack.unpack(value)
end

-- Entries are read once and written once, at the end.
local loaded, touched = {}, {}

local function entry_of(upload)
  if loaded[upload] == nil then
    loaded[upload] = packed(ENTRIES, upload)
  end
  return loaded[upload] or nil
end

local function touch(entry)
  loaded[entry.upload], touched[entry.upload] = entry, entry
end

local function forget(entry)
  loaded[entry.upload], touched[entry.upload] = false, nil
  redis.call('HDEL', ENTRIES, entry.upload)
  redis.call('ZREM', DEADLINES, entry.upload)
end

local function write_back()
  for upload, entry in pairs(touched) do
    redis.call('HSET', ENTRIES, upload, cmsgpack.pack(entry))
  end
  touched = {}
end

local function changed(entry)
  changes[#changes + 1] = entry.worker
  changes[#changes + 1] = entry.upload
end

-- Only grows. It begins at the time, which is above whatever was counted before Redis lost it: nobody counts a thousand
-- a second for long.
local function count(counter)
  local number = redis.call('INCR', counter)
  if number == 1 then
    number = now
    redis.call('SET', counter, number)
  end
  return number
end

local function raise(counter, least)
  if (tonumber(redis.call('GET', counter)) or 0) < least then
    redis.call('SET', counter, least)
  end
end

-- Adds to a count in a hash; one that is 0 is not kept, since people and nodes come and go.
local function add(hash, field, change)
  if redis.call('HINCRBY', hash, field, change) == 0 then
    redis.call('HDEL', hash, field)
  end
end

local function number_in(hash, field)
  return tonumber(redis.call('HGET', hash, field)) or 0
end
