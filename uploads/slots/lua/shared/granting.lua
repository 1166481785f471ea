-- The only place where slots are granted: as long as one is free, somebody can run and memory allows it.

-- Somebody who finds no memory is not overtaken on the same node; other nodes go on.
local function grant()
  local caps = MOST_OF_ALL .. '|' .. MOST_OF_A_PERSON
  if redis.call('HGET', STATE, 'caps') ~= caps then
    remember_cap('all', MOST_OF_ALL)
    remember_cap('person', MOST_OF_A_PERSON)
    redis.call('HSET', STATE, 'caps', caps)
  end
  if recovering then
    return
  end
  local blocked = {}
  while redis.call('ZCARD', LEASES) < MOST_OF_ALL do
    local entry = next_in_line(blocked)
    if not entry then
      return
    end
    if admits(entry.node, entry.window) then
      give(entry)
      blocked = {}  -- a person who holds one more is behind others now, who may need less memory
    else
      blocked[entry.node] = true
    end
  end
end

-- Every verb begins with this; it ends with `grant` and `finish`.
local function begin()
  report_memory()
  lapse()
end

-- Where the entry stands, as its owner is told it, who by that claims what was granted:
-- {fence, ticket}, or {0, ticket, position, paused, stored_from, slots of the person, position among own, own releases,
-- all releases}.
local function standing_of(entry)
  if entry.fence > 0 then
    if redis.call('ZREM', UNCLAIMED, entry.upload) == 1 or entry.front ~= 0 then
      entry.front = 0
      touch(entry)
    end
    return {entry.fence, entry.ticket}
  end
  local held, among_own, own_releases = number_in(GRANTED, entry.person), 0, false
  if held >= MOST_OF_A_PERSON then
    among_own, own_releases = position_among_own(entry), redis.call('HGET', RELEASED, entry.person)
  end
  return {
    0, entry.ticket, position(entry), entry.paused and 1 or 0, entry.stored_from, held,
    among_own, own_releases, redis.call('HGET', RELEASED, ''),
  }
end

-- `turn` is above 0 where the answer tells somebody's standing: of two on their way the later is true.
local function finish(answer, turn)
  write_back()
  local recovery_left = math.max(0, recovers_at - now)
  return {turn or 0, now, RUN, recovery_left, redis.call('ZCARD', LEASES), changes, cmsgpack.pack(answer)}
end
