--! keys: record journal context gone by stats
--! uses: clock index journal whole begin
-- submit: create a session, ready to run. Refuses an id that exists; the same submission again (same digest, same key)
-- is answered "existing", so that a client may repeat it after a lost reply - also once the session was archived, for as
-- long as `gone` remembers it.
--
--   record   hash    created          journal  stream  entry 1
--   context  list    first messages   by       zset    app:ready:…
--
-- ARGV: sid, digest, bell, entry, field count, field, value, …, message, …
local sid, digest, bell, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local fields = whole(ARGV[5])
if not fields or #ARGV < 5 + 2 * fields then return {'malformed'} end
local last_field = 5 + 2 * fields
local stamp, key, is_same = begun_by(digest, 6, last_field)
if stamp then return {is_same and 'existing' or 'taken', stamp, key} end

local now = now_ms()
if not begin_session(sid, digest, entry, 6, last_field, now) then return {'malformed'} end
for i = last_field + 1, #ARGV do redis.call('RPUSH', K.context, ARGV[i]) end
redis.call('PUBLISH', bell, sid)
return {'created', now}
