--! keys: record leases
--! uses: clock whole
-- renew: extend the lease of the holder with this fence, and bring back whether to cancel.
-- Answers: renewed (with the cancel reason or '', and 1 where it waits for nothing) · stale · malformed. Replay: renewing twice is renewing.
--
-- ARGV: sid, fence, lease ms
if not whole(ARGV[3]) then return {'malformed'} end
local v = redis.call('HMGET', K.record, 'fence', 'cancel', 'immediate')
if v[1] ~= ARGV[2] or not redis.call('ZSCORE', K.leases, ARGV[1]) then return {'stale'} end
redis.call('ZADD', K.leases, now_ms() + tonumber(ARGV[3]), ARGV[1])
return {'renewed', v[2] or '', v[3] or ''}
