-- Makes all books anew from the entries; keeps no more leases than the highest caps since the oldest of them allow.
--
-- KEYS, ARGV[1] to [12]: shared/given.lua
-- answer: what was done to entries, by turns the upload and 'lease' or 'place' (it had lapsed), or 'back' (its slot was
--         taken back; it waits in line)

local done, held, waiting = {}, {}, {}
local kept = redis.call('HGETALL', ENTRIES)
local entries, deadlines = {}, {}
for index = 1, #kept, 2 do
  local entry = cmsgpack.unpack(kept[index + 1])
  if not entries[entry.upload] or kept[index] == entry.upload then
    entries[entry.upload] = entry
  end
end
for _, entry in pairs(entries) do
  deadlines[entry.upload] = tonumber(redis.call('ZSCORE', DEADLINES, entry.upload)) or now + LEASE
  if deadlines[entry.upload] <= now then
    done[#done + 1], done[#done + 2] = entry.upload, entry.fence > 0 and 'lease' or 'place'
    changed(entry)
  elseif entry.fence > 0 then
    held[#held + 1] = entry
  else
    waiting[#waiting + 1] = entry
  end
end
redis.call('DEL', ENTRIES, LEASES, DEADLINES, UNCLAIMED, WAITING, READY, HEADS, FRONTS, GRANTED, PLACES, PROMISED, GRANTS)
report_memory()

table.sort(held, function(one, other)
  return one.fence < other.fence
end)
local oldest = now
for _, entry in ipairs(held) do
  oldest = math.min(oldest, entry.since)
end
local of_all = highest_cap('all', oldest) or MOST_OF_ALL
local of_a_person = highest_cap('person', oldest) or MOST_OF_A_PERSON
local last_fence = 0
for _, entry in ipairs(held) do
  raise(FENCES, entry.fence)
end
for _, entry in ipairs(held) do
  local promised = number_in(PROMISED, entry.node)
  local ceiling = highest_cap('bytes|' .. entry.node, oldest) or entry.window
  local in_number = redis.call('ZCARD', LEASES) < of_all and number_in(GRANTED, entry.person) < of_a_person
  if in_number and (promised == 0 or promised + entry.window <= ceiling) and entry.owner ~= '' then
    local fence = entry.fence == last_fence and count(FENCES) or entry.fence
    last_fence = entry.fence
    hold(entry, fence, entry.since)
  else
    done[#done + 1], done[#done + 2] = entry.upload, 'back'
    entry.fence, entry.since = 0, now
    waiting[#waiting + 1] = entry
  end
end
for _, entry in ipairs(waiting) do
  join_line(entry)
  touch(entry)
end
for _, entry in ipairs(held) do
  changed(entry)
end
for upload, entry in pairs(touched) do
  keep_until(entry, deadlines[upload])
end
grant()
return finish(done)
