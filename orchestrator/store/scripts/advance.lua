--! keys: record journal
--! uses: clock journal whole
-- advance: the commit of a step that changes nothing but the record, and goes on under the same lease.
--
-- Most steps end like this, so it touches two keys; all others end with `commit`, and the rules are the same.
-- Refused with "stale" unless the fence is the newest and the revision the one that was read.
-- Replay: the same commit again (a lost reply) finds the next revision under its own fence, which nobody else can have
-- written, and is answered as it was. Everything is checked before the first write.
--
--   record   hash    patched, rev + 1, attempts 0      journal  stream  one entry appended
--
-- ARGV: sid, fence, rev, limit of journal entries, entry, then fields and values. The caller has checked their sizes.
local v = redis.call('HMGET', K.record, 'phase', 'fence', 'rev', 'seq', 'attempts', 'posts', 'cancel')
local phase, rev = v[1], whole(ARGV[3])
if not phase then return {'missing'} end
local limit = whole(ARGV[4])
if not (rev and limit) or #ARGV % 2 == 0 then return {'malformed', #ARGV} end
if v[2] == ARGV[2] and tonumber(v[3]) == rev + 1 then return {'committed', phase, v[7] or '', v[6], 'replay'} end
if v[2] ~= ARGV[2] or v[3] ~= ARGV[3] then return {'stale', v[2], v[3]} end
if phase ~= 'running' and phase ~= 'finalizing' then return {'refused', phase, phase} end
local seq, now = v[4] + 1, now_ms()
if seq > limit then return {'large', 'journal', seq, limit} end

append_entry(K.journal, seq, now, ARGV[5])
if v[5] ~= '0' then redis.call('HSET', K.record, 'attempts', '0') end
redis.call('HSET', K.record, 'rev', rev + 1, 'seq', seq, 'updated', now, unpack(ARGV, 6))
return {'committed', phase, v[7] or '', v[6], now}
