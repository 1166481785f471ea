-- The caps that were in force, for the check: what is held is measured by the highest since the oldest present lease.
--
-- A history is a list of {value, the last moment at which it was in force, 0 for still}, each value below the one before.

local function remember_cap(name, value)
  local history = packed(CAPS, name) or {}
  local last = history[#history]
  if last and last[1] == value then
    return
  end
  if last then
    last[2] = now
  end
  local first = redis.call('ZRANGE', LEASES, 0, 0)[1]
  local oldest = first and entry_of(first)
  local kept = {}
  for _, cap in ipairs(history) do
    if oldest and cap[1] > value and cap[2] >= oldest.since then
      kept[#kept + 1] = cap
    end
  end
  kept[#kept + 1] = {value, 0}
  redis.call('HSET', CAPS, name, cmsgpack.pack(kept))
end

-- The highest value in force at `moment` or later; nil where nobody knows.
local function highest_cap(name, moment)
  for _, cap in ipairs(packed(CAPS, name) or {}) do
    if cap[2] == 0 or cap[2] >= moment then
      return cap[1]
    end
  end
end
