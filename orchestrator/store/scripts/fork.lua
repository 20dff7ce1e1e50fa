--! keys: record journal context intents gone by stats
--! uses: clock index journal whole begin
-- fork: create a session that begins where another one stood. Refuses an id that exists; the same fork again (same digest,
-- same key) is answered "existing", also once the session was archived.
--
--   record   hash    created          journal  stream  entry 1, then entries `carried` with the context, in pieces
--   context  list    as it was        intents  hash    calls of which nobody knows whether they acted
--   by       zset    app:ready:…
--
-- ARGV: sid, digest, bell, entry, field count, intent count, actor, most messages and most bytes of one carried entry,
--       then field, value, …, call id, intent, …, message, …
local sid, digest, bell, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local fields, intents, most, most_bytes = whole(ARGV[5]), whole(ARGV[6]), whole(ARGV[8]), whole(ARGV[9])
if not (fields and intents and most and most_bytes) or #ARGV < 9 + 2 * (fields + intents) then return {'malformed'} end
local at_intents = 10 + 2 * fields
local at_messages = at_intents + 2 * intents
local stamp, key, is_same = begun_by(digest, 10, at_intents - 1)
if stamp then return {is_same and 'existing' or 'taken', stamp, key} end

local now = now_ms()
if not begin_session(sid, digest, entry, 10, at_intents - 1, now) then return {'malformed'} end
for i = at_intents, at_messages - 1, 2 do redis.call('HSET', K.intents, ARGV[i], ARGV[i + 1]) end

local head = '{"kind":"carried","actor":' .. cjson.encode(ARGV[7]) .. ',"messages":'
local seq, piece, bytes = 1, {}, 0
for i = at_messages, #ARGV do
  piece[#piece + 1] = ARGV[i]
  bytes = bytes + #ARGV[i]
  if #piece >= most or bytes >= most_bytes or i == #ARGV then
    seq = seq + 1
    append_entry(K.journal, seq, now, head .. cjson.encode(piece) .. '}')
    redis.call('RPUSH', K.context, unpack(piece))
    piece, bytes = {}, 0
  end
end
redis.call('HSET', K.record, 'seq', seq)
redis.call('PUBLISH', bell, sid)
return {'created', now}
