--! keys: record journal mailbox seen due by stats
--! uses: clock index journal record whole
-- post: put a message into a session's mailbox, and make a waiting session ready.
--
-- Answers: posted · duplicate (this post id was taken before) · missing · settled · full ·
-- not_waiting (the answer names a wait that is not there) · answered (somebody was quicker).
-- An answer is accepted once: `answered` stays until the commit that takes it.
--
--   mailbox  list    post appended, bounded      seen  zset  post id -> time, the newest 1,024
--   journal  stream  a `posted` entry            due, by     a waiting session becomes ready
--
-- ARGV: sid, post id, post, entry, wait id that the answer is for or '', most posts, cancel reason or '', bell
local sid, post_id, expected, cancel = ARGV[1], ARGV[2], ARGV[5], ARGV[7]
if post_id == '' or not whole(ARGV[6]) then return {'malformed'} end
local f = read_record()
if not f then return {'missing'} end
if redis.call('ZSCORE', K.seen, post_id) then return {'duplicate', f.phase} end
if f.phase == 'ended' or f.phase == 'dead' then return {'settled', f.phase, f.status} end
if expected ~= '' then
  if f.wait_id ~= expected then return {'not_waiting', f.wait_id} end
  if f.answered == '1' then return {'answered', f.wait_id} end
end
if f.posts >= tonumber(ARGV[6]) then return {'full', f.posts} end

local now = now_ms()
local seq = tonumber(f.seq) + 1
append_entry(K.journal, seq, now, ARGV[4])
redis.call('RPUSH', K.mailbox, ARGV[3])
redis.call('ZADD', K.seen, now, post_id)
redis.call('ZREMRANGEBYRANK', K.seen, 0, -1025)
local patch = {'seq', seq, 'posts', f.posts + 1, 'updated', now}
if expected ~= '' then
  patch[#patch + 1] = 'answered'
  patch[#patch + 1] = '1'
end
if cancel ~= '' then
  patch[#patch + 1] = 'cancel'
  patch[#patch + 1] = cancel
end
if f.phase == 'waiting' then
  patch[#patch + 1] = 'phase'
  patch[#patch + 1] = 'ready'
  patch[#patch + 1] = 'since'
  patch[#patch + 1] = now
  redis.call('ZREM', K.due, sid)
  reindex(K.by, sid, f.app, f.rank, {phase = f.phase, status = f.status, since = tonumber(f.since)},
    {phase = 'ready', status = f.status}, now)
end
redis.call('HSET', K.record, unpack(patch))
redis.call('HINCRBY', K.stats, 'posted', 1)
redis.call('PUBLISH', ARGV[8], sid)
return {'posted', f.phase, now}
