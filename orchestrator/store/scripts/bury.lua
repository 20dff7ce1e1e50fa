--! keys: record journal context mailbox intents seen due leases by sent dead deadinfo stats outbox
--! uses: clock index outbox whole
-- bury: look whether a session can be worked on at all; where it cannot, make it a dead letter.
-- For a session on which another act failed: that act would fail again at every wake-up.
--
-- Answers: readable (this script sees nothing wrong) · missing (no record; every trace in the indexes
-- is removed) · buried. With the fence of its holder it is buried without a look. Replay: it is dead.
--
--   record   hash    phase dead, fence + 1        by     zset         moved to dead
--   journal  stream  a `buried` entry, if it is a journal     dead(info)   the letter
--
-- Everything here may be wrong, so nothing is believed: members of `by` are found by their ends.
-- ARGV: sid, detail, fence of the holder or ''
local sid, detail = ARGV[1], ARGV[2]
local WANTED = {{'record', 'hash'}, {'journal', 'stream'}, {'context', 'list'}, {'mailbox', 'list'}, {'intents', 'hash'},
  {'seen', 'zset'}}
local kinds, wrong = {}, ''
for _, pair in ipairs(WANTED) do
  local found = redis.call('TYPE', K[pair[1]]).ok
  kinds[pair[1]] = found
  if found ~= 'none' and found ~= pair[2] then wrong = pair[1] .. ' is a ' .. found end
end

local function forget()
  local tail = ':' .. sid
  for _, member in ipairs(redis.call('ZRANGE', K.by, 0, -1)) do
    if string.sub(member, -#tail) == tail then redis.call('ZREM', K.by, member) end
  end
  redis.call('ZREM', K.due, sid)
  redis.call('ZREM', K.sent, sid)
  redis.call('ZREM', K.leases, sid)
end

if kinds.record == 'none' then
  forget()
  return {'missing'}
end

local app, fence, seq = 'unknown', 0, 0
if kinds.record == 'hash' then
  local names = {'since', 'seq', 'rev', 'fence', 'attempts', 'posts', 'app', 'spec', 'rank', 'phase', 'status'}
  local v = redis.call('HMGET', K.record, unpack(names))
  if v[10] == 'dead' then return {'buried', 'already'} end
  for i, name in ipairs(names) do
    if not v[i] or (i <= 6 and not whole(v[i])) then wrong = 'its record has no ' .. name end
  end
  app, fence, seq = v[7] or app, whole(v[4]) or fence, whole(v[2]) or seq
  if wrong == '' and ARGV[3] == v[4] then wrong = detail end
end
if kinds.journal == 'stream' then
  local tail = redis.call('XREVRANGE', K.journal, '+', '-', 'COUNT', 1)[1]
  local last = tail and tonumber(string.match(tail[1], '^%d+')) or seq
  if last ~= seq and wrong == '' then wrong = 'its journal ends at ' .. last .. ', the record says ' .. seq end
  seq = math.max(last, seq)
end
if wrong == '' then return {'readable'} end

local now = now_ms()
local told = '"reason":"unreadable","detail":' .. cjson.encode(wrong == detail and detail or wrong .. ': ' .. detail)
forget()
if kinds.journal == 'stream' or kinds.journal == 'none' then
  seq = seq + 1
  redis.call('XADD', K.journal, seq .. '-0', 't', now,
    'e', '{"kind":"buried","actor":"store","fence":' .. fence .. ',"data":{' .. told .. '}}')
end
if kinds.record == 'hash' then
  redis.call('HSET', K.record, 'phase', 'dead', 'since', now, 'updated', now, 'seq', seq, 'reason', 'unreadable',
    'fence', math.max(fence + 1, now))
  redis.call('ZADD', K.by, 0, index_member(app, 'dead', '', '-', now, sid))
end
redis.call('ZADD', K.dead, now, sid)
redis.call('HSET', K.deadinfo, sid, '{' .. told .. ',"at":' .. now .. '}')
redis.call('HINCRBY', K.stats, 'buried:unreadable', 1)
tell_outbox(sid, app, 'dead', seq, now)
return {'buried', wrong}
