--! keys: request
--! uses: whole
-- move_key: let an idempotency key stand for another session, unless it does not stand any more for the one that was found.
-- Answers: moved · elsewhere, and for what it stands. Moved again it is where it was moved to; one that ran out is set.
--
-- ARGV: "SESSION DIGEST" as it was found, and as it shall be, seconds for which it is known
local found, wanted, seconds = ARGV[1], ARGV[2], whole(ARGV[3])
if not seconds or seconds == 0 then return {'malformed'} end
local now = redis.call('GET', K.request)
if now and now ~= found and now ~= wanted then return {'elsewhere', now} end
redis.call('SET', K.request, wanted, 'EX', seconds)
return {'moved'}
