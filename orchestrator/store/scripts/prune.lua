--! keys: record journal context mailbox intents seen marks gone by sent stats
--! uses: clock index whole
-- prune: remove a session that ended, once the archive holds it.
--
-- Answers: pruned · missing (it was removed before) · changed (it is not the session that was read: archive it anew).
-- A submission's key that is still known leaves the session's digest behind for as long, so that the same submission
-- again does not create it a second time. Replay: missing.
--
--   record, journal, context, mailbox, intents, seen, marks   removed        by, sent  its members removed
--   gone    string  the submission's digest, until its key runs out   stats     archived + 1
--
-- ARGV: sid, revision and last journal number of what was archived
local sid = ARGV[1]
if not (whole(ARGV[2]) and whole(ARGV[3])) then return {'malformed'} end
local v = redis.call('HMGET', K.record, 'phase', 'rev', 'seq', 'app', 'status', 'since', 'submit', 'created', 'key_seconds')
if not v[1] then return {'missing'} end
if v[1] ~= 'ended' or v[2] ~= ARGV[2] or v[3] ~= ARGV[3] then return {'changed', v[1]} end

local known_until = whole(v[8]) and whole(v[9]) and v[8] + v[9] * 1000 or 0
local left = known_until - now_ms()
if left > 0 then redis.call('SET', K.gone, v[7], 'PX', left) end
redis.call('ZREM', K.by, index_member(v[4], 'ended', v[5] or '', '-', v[6], sid))
redis.call('ZREM', K.sent, sid)
redis.call('UNLINK', K.record, K.journal, K.context, K.mailbox, K.intents, K.seen, K.marks)
redis.call('HINCRBY', K.stats, 'archived', 1)
return {'pruned'}
