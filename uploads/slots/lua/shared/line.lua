-- The line: who waits, in which order, and who is next. Every change costs O(log n), however long the line is.
--
-- Four sorted sets whose members all have score 0, so that they stand in the order of their text; numbers in it have a
-- fixed width:
--   waiting  'paused' 'front' 'ticket' | upload          everybody, in the order that people see; a rank is a position
--   ready    person | node | 'ticket' | upload           those that can run and are not at the front
--   heads    node | 'slots held' | 'ticket' | upload     of these the oldest of each person on each node, by the slots
--                                                        that the person holds: the first of a node is its next
--   fronts   'front' | node | upload                     those that can run and that an admin sent to the front; so few
--                                                        that they are gone through
-- A person at the cap need not be looked at, since the first head has the fewest slots; a changed cap moves nobody.

local BEHIND_FRONTS = 1e15

local function width(number, digits)
  return string.format('%0' .. digits .. '.0f', number)
end

local function place_in_line(entry)
  local ticket = width(entry.ticket, 16)
  return (entry.paused and '1' or '0') .. width(BEHIND_FRONTS + entry.front, 16) .. ticket .. '|' .. entry.upload
end

local function front_place(entry)
  return width(BEHIND_FRONTS + entry.front, 16) .. '|' .. entry.node .. '|' .. entry.upload
end

local function ready_place(entry)
  return entry.person .. '|' .. entry.node .. '|' .. width(entry.ticket, 16) .. '|' .. entry.upload
end

local function head_place(node, held, head)
  return node .. '|' .. width(held, 8) .. '|' .. head
end

local function can_run(entry)
  return not (entry.paused or entry.absent or entry.stored_from > 0)
end

-- 'ticket' | upload of the person's oldest on the node, or nil.
local function head_of(person, node)
  local begins = person .. '|' .. node .. '|'
  local first = redis.call('ZRANGEBYLEX', READY, '[' .. begins, '(' .. begins .. '\255', 'LIMIT', 0, 1)[1]
  return first and string.sub(first, #begins + 1)
end

-- {node, head} of each node on which the person waits.
local function heads_of(person)
  local heads, begins = {}, person .. '|'
  local from = '[' .. begins
  while true do
    local first = redis.call('ZRANGEBYLEX', READY, from, '(' .. begins .. '\255', 'LIMIT', 0, 1)[1]
    if not first then
      return heads
    end
    local node, head = string.match(string.sub(first, #begins + 1), '^([^|]*)|(.*)$')
    heads[#heads + 1] = {node, head}
    from = '[' .. begins .. node .. '|\255'
  end
end

-- Puts the entry among the ready ('ZADD') or takes it away ('ZREM').
local function change_ready(entry, command)
  local person, node = entry.person, entry.node
  local before = head_of(person, node)
  if command == 'ZADD' then
    redis.call('ZADD', READY, 0, ready_place(entry))
  else
    redis.call('ZREM', READY, ready_place(entry))
  end
  local after = head_of(person, node)
  if before ~= after then
    local held = number_in(GRANTED, person)
    if before then
      redis.call('ZREM', HEADS, head_place(node, held, before))
    end
    if after then
      redis.call('ZADD', HEADS, 0, head_place(node, held, after))
    end
  end
end

-- The person holds one slot more (1) or less (-1).
local function count_granted(person, change)
  local held, heads = number_in(GRANTED, person), heads_of(person)
  add(GRANTED, person, change)
  for _, head in ipairs(heads) do
    redis.call('ZREM', HEADS, head_place(head[1], held, head[2]))
    redis.call('ZADD', HEADS, 0, head_place(head[1], held + change, head[2]))
  end
end

local function join_line(entry)
  redis.call('ZADD', WAITING, 0, place_in_line(entry))
  add(PLACES, entry.person, 1)
  if can_run(entry) and entry.front ~= 0 then
    redis.call('ZADD', FRONTS, 0, front_place(entry))
  elseif can_run(entry) then
    change_ready(entry, 'ZADD')
  end
end

-- Its fields must be as they were when it joined.
local function leave_line(entry)
  redis.call('ZREM', WAITING, place_in_line(entry))
  add(PLACES, entry.person, -1)
  if can_run(entry) and entry.front ~= 0 then
    redis.call('ZREM', FRONTS, front_place(entry))
  elseif can_run(entry) then
    change_ready(entry, 'ZREM')
  end
end

-- The next of those at the front, or nil; whoever waits on a node in `blocked` is passed over.
local function next_at_front(blocked)
  for _, place in ipairs(redis.call('ZRANGE', FRONTS, 0, -1)) do
    local node, upload = string.match(place, '^%d+|([^|]*)|(.*)$')
    local entry = entry_of(upload)
    if not entry then
      redis.call('ZREM', FRONTS, place)
    elseif not blocked[node] and number_in(GRANTED, entry.person) < MOST_OF_A_PERSON then
      return entry
    end
  end
end

-- Who goes next: the front first, then who holds fewest, then the oldest ticket; nil where nobody can.
local function next_in_line(blocked)
  local favoured = next_at_front(blocked)
  if favoured then
    return favoured
  end
  local best, best_place
  local from = '-'
  while true do
    local first = redis.call('ZRANGEBYLEX', HEADS, from, '+', 'LIMIT', 0, 1)[1]
    if not first then
      break
    end
    local node, rest = string.match(first, '^([^|]*)|(.*)$')
    if not blocked[node] and (not best or rest < best) then
      best, best_place = rest, first
    end
    from = '[' .. node .. '|\255'
  end
  if not best or tonumber(string.sub(best, 1, 8)) >= MOST_OF_A_PERSON then
    return nil
  end
  local entry = entry_of(string.sub(best, 27))
  if not entry then  -- a head of nobody: the check will have found it
    redis.call('ZREM', HEADS, best_place)
    return next_in_line(blocked)
  end
  return entry
end

-- The place's number in the line of all people, from 1.
local function position(entry)
  return (redis.call('ZRANK', WAITING, place_in_line(entry)) or -1) + 1
end

-- The place's number among those of the same person that can run, from 1.
local function position_among_own(entry)
  local before = 0
  if entry.front == 0 then
    for _, head in ipairs(heads_of(entry.person)) do
      local begins = '[' .. entry.person .. '|' .. head[1] .. '|'
      before = before + redis.call('ZLEXCOUNT', READY, begins, begins .. width(entry.ticket, 16))
    end
  end
  return before + 1
end
