-- A restart of Redis, which may have lost the latest changes or everything: no grant for one lease time, in which
-- whoever still holds a slot renews it and by that restores it. A first start ever waits for nothing.

local RUN = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local kept_run, recovers_at = unpack(redis.call('HMGET', STATE, 'run_id', 'recovers_at'))
recovers_at = tonumber(recovers_at) or 0
if kept_run ~= RUN then
  if kept_run or KNOWN_RUN ~= '' then
    recovers_at = now + LEASE
    for _, counter in ipairs({TICKETS, FENCES, TURNS}) do
      raise(counter, now)  -- above all that was counted before, also what is lost of it
    end
  end
  redis.call('HSET', STATE, 'run_id', RUN, 'recovers_at', recovers_at)
end
if recovers_at > now + LEASE then  -- the clock was set back since
  recovers_at = now + LEASE
  redis.call('HSET', STATE, 'recovers_at', recovers_at)
end
local recovering = recovers_at > now

-- What a caller says that it has, in so many arguments: standing.lua names them.
local CLAIMED = 7

local function claimed_in(first)
  return {
    upload = ARGV[first],
    owner = ARGV[first + 1],
    person = ARGV[first + 2],
    window = tonumber(ARGV[first + 3]),
    ticket = tonumber(ARGV[first + 4]),
    fence = tonumber(ARGV[first + 5]),
    paused = ARGV[first + 6] == '1',
  }
end

local function restore(claimed)
  local entry = {
    upload = claimed.upload, owner = claimed.owner, worker = WORKER, person = claimed.person, node = NODE,
    window = claimed.window, ticket = claimed.ticket, front = 0, paused = claimed.paused, absent = false,
    stored_from = 0, connected = true, since = now, fence = 0,
  }
  raise(TICKETS, claimed.ticket)
  keep_until(entry, now + LEASE)
  if claimed.fence > 0 then
    raise(FENCES, claimed.fence)
    hold(entry, claimed.fence, now)
  else
    join_line(entry)
    touch(entry)
  end
  return entry
end

-- The entry of this upload where this owner has it, or nil; what a restart has lost is restored.
local function owned(claimed)
  local entry = entry_of(claimed.upload)
  if not entry and recovering and claimed.ticket > 0 then
    return restore(claimed)
  end
  if not entry or entry.owner ~= claimed.owner then
    return nil
  end
  local grant_lost = recovering and claimed.fence > 0 and entry.fence == 0 and entry.since < recovers_at - LEASE
  if grant_lost and not entry.paused and entry.stored_from == 0 then
    leave_line(entry)
    raise(FENCES, claimed.fence)
    hold(entry, claimed.fence, now)
  end
  return entry
end
