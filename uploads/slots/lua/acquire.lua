-- Takes a slot or a place in the line, or takes over what the upload has under an older owner token.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- ARGV[13] upload  [14] owner  [15] person  [16] window in bytes
-- answer: its standing (shared/granting.lua), or 'person' or 'all': whose line is full

begin()
local upload, owner, person, window = ARGV[OWN], ARGV[OWN + 1], ARGV[OWN + 2], tonumber(ARGV[OWN + 3])
local entry = entry_of(upload)
local is_new = not entry
if is_new then
  entry = {
    upload = upload, owner = owner, worker = WORKER, person = person, node = NODE, window = window,
    ticket = count(TICKETS), front = 0, paused = false, absent = false, stored_from = 0, connected = true,
    since = now, fence = 0,
  }
  keep_until(entry, now + LEASE)
  join_line(entry)
  touch(entry)
elseif entry.owner ~= owner or not entry.connected then
  changed(entry)  -- the older owner looks, and finds itself absent
  local moves = entry.node ~= NODE
  if entry.fence > 0 and moves and not admits(NODE, entry.window) then
    back_to_line(entry, false, false)  -- the memory promised to it is that of another node
  end
  if entry.fence > 0 then
    new_fence(entry)
    if moves then
      add(PROMISED, entry.node, -entry.window)
      add(PROMISED, NODE, entry.window)
      local as_granted = packed(GRANTS, upload)
      as_granted.node = NODE
      redis.call('HSET', GRANTS, upload, cmsgpack.pack(as_granted))
      entry.node = NODE
    end
  else
    leave_line(entry)
    entry.absent, entry.stored_from, entry.node = false, 0, NODE
    join_line(entry)
  end
  entry.owner, entry.worker, entry.connected = owner, WORKER, true
  keep_until(entry, now + LEASE)
  touch(entry)
end
grant()
if is_new and entry.fence == 0 then
  local crowded = number_in(PLACES, person) > MOST_PLACES
  if crowded or redis.call('ZCARD', WAITING) > MOST_QUEUED then
    drop(entry)
    return finish(crowded and 'person' or 'all')
  end
end
return finish(standing_of(entry), count(TURNS))
