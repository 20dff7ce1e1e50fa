--! keys: record journal context gone by stats
--! uses: clock index journal whole
-- submit: create a session, ready to run. Refuses an id that exists; the same submission again
-- (same digest) is answered "existing", so that a client may repeat it after a lost reply - also once the session
-- was archived, for as long as `gone` remembers it.
--
--   record   hash    created          journal  stream  entry 1
--   context  list    first messages   by       zset    app:ready:…
--
-- ARGV: sid, digest, bell, entry, field count, field, value, …, message, …
local sid, digest, bell, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local found = redis.call('HGET', K.record, 'submit') or redis.call('GET', K.gone)
if found then return {found == digest and 'existing' or 'taken'} end

local fields = whole(ARGV[5])
if not fields or #ARGV < 5 + 2 * fields then return {'malformed'} end
local now = now_ms()
local last_field = 5 + 2 * fields
local record = {'submit', digest, 'phase', 'ready', 'status', '', 'since', now, 'created', now, 'updated', now,
  'rev', '0', 'fence', '0', 'attempts', '0', 'seq', '1', 'posts', '0'}
local app, rank
for i = 6, last_field, 2 do
  record[#record + 1] = ARGV[i]
  record[#record + 1] = ARGV[i + 1]
  if ARGV[i] == 'app' then app = ARGV[i + 1] end
  if ARGV[i] == 'rank' then rank = ARGV[i + 1] end
end
if not app or not rank then return {'malformed'} end
redis.call('HSET', K.record, unpack(record))
append_entry(K.journal, 1, now, entry)
for i = last_field + 1, #ARGV do redis.call('RPUSH', K.context, ARGV[i]) end
redis.call('ZADD', K.by, 0, index_member(app, 'ready', '', rank, now, sid))
redis.call('HINCRBY', K.stats, 'submitted:' .. app, 1)
redis.call('PUBLISH', bell, sid)
return {'created', now}
