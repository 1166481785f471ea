-- Steps that keep entries, counts, orders and second books in agreement.

local RELEASES_REMEMBERED = 16

local function hold(entry, fence, since)
  entry.fence, entry.since = fence, since
  redis.call('ZADD', LEASES, fence, entry.upload)
  count_granted(entry.person, 1)
  add(PROMISED, entry.node, entry.window)
  local as_granted = {person = entry.person, window = entry.window, fence = fence, at = since, node = entry.node}
  redis.call('HSET', GRANTS, entry.upload, cmsgpack.pack(as_granted))
  touch(entry)
end

local function give(entry)
  leave_line(entry)
  hold(entry, count(FENCES), now)
  redis.call('ZADD', UNCLAIMED, now + CLAIM, entry.upload)
  changed(entry)
end

-- The lease has a new owner, whose writes must win over what the older one still has under way.
local function new_fence(entry)
  entry.fence = count(FENCES)
  local as_granted = packed(GRANTS, entry.upload)
  if as_granted then
    as_granted.fence = entry.fence
    redis.call('HSET', GRANTS, entry.upload, cmsgpack.pack(as_granted))
  end
end

local function note_release(person)
  for _, whose in ipairs({'', person}) do
    local times = packed(RELEASED, whose) or {}
    times[#times + 1] = now
    if #times > RELEASES_REMEMBERED then
      table.remove(times, 1)
    end
    redis.call('HSET', RELEASED, whose, cmsgpack.pack(times))
  end
end

local function end_lease(entry)
  redis.call('ZREM', LEASES, entry.upload)
  redis.call('ZREM', UNCLAIMED, entry.upload)
  count_granted(entry.person, -1)
  add(PROMISED, entry.node, -entry.window)
  redis.call('HDEL', GRANTS, entry.upload)
  entry.fence = 0
end

-- Ends a lease; the upload waits again, with the ticket that it had.
local function back_to_line(entry, paused, absent)
  end_lease(entry)
  if not absent then
    note_release(entry.person)
  end
  entry.since, entry.paused, entry.absent = now, paused, absent
  join_line(entry)
  touch(entry)
  changed(entry)
end

-- Ends the lease or the place, whichever it is.
local function drop(entry)
  if entry.fence > 0 then
    end_lease(entry)
    note_release(entry.person)
  else
    leave_line(entry)
  end
  forget(entry)
  changed(entry)
  local person = entry.person
  if redis.call('HEXISTS', GRANTED, person) == 0 and redis.call('HEXISTS', PLACES, person) == 0 then
    redis.call('HDEL', RELEASED, person)
  end
end

local function keep_until(entry, moment)
  redis.call('ZADD', DEADLINES, moment, entry.upload)
end

-- Nothing is kept for so long at a time, in milliseconds: where it seems so, the clock was set back since.
local TOO_LONG = LEASE + 60000

-- What a clock that was set back would keep for as long again lasts one lease from now, like everything else.
local function shorten()
  for _, upload in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, now + TOO_LONG, '+inf')) do
    keep_until({upload = upload}, now + LEASE)
    redis.call('ZADD', UNCLAIMED, 'XX', now + CLAIM, upload)
  end
end

-- Ends what time has ended.
local function lapse()
  shorten()
  for _, upload in ipairs(redis.call('ZRANGEBYSCORE', UNCLAIMED, '-inf', now)) do
    local entry = entry_of(upload)
    if not entry or entry.fence == 0 then
      redis.call('ZREM', UNCLAIMED, upload)
    elseif (tonumber(redis.call('ZSCORE', DEADLINES, upload)) or 0) > now then
      back_to_line(entry, false, true)  -- nobody claimed the grant: the place is kept, the slot goes to the next
    end
  end
  for _, upload in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now)) do
    local entry = entry_of(upload)
    if entry then
      drop(entry)
    else  -- nothing is known of it any more: the check will have found it
      redis.call('ZREM', DEADLINES, upload)
      redis.call('ZREM', LEASES, upload)
    end
  end
end
