--! keys: record journal mailbox seen due by sent stats
--! uses: clock front index journal record whole
-- post: put a message into a session's mailbox, and make a waiting session ready.
--
-- Answers: posted · duplicate (this post id was taken before) · missing · settled · full · malformed ·
-- not_waiting (the answer names a wait that is not there) · answered (somebody was quicker).
-- An answer is accepted once: `answered` stays until the commit that takes it. A cancel puts a session that nobody
-- holds at the front of its line, and is called out to whoever does hold it.
--
--   mailbox  list    post appended, bounded      seen  zset  post id -> time, behind all that are there; the newest 1,024
--   journal  stream  a `posted` entry            due, by     a waiting session becomes ready
--   sent     zset    a cancel's sid removed: it is sent again, now
--
-- ARGV: sid, post id, post, entry, wait id that the answer is for or '', most posts, cancel reason or '', bell,
--       channel of cancels, 1 for a cancel that waits for nothing, format of the post
local sid, post_id, expected, cancel = ARGV[1], ARGV[2], ARGV[5], ARGV[7]
local format = whole(ARGV[11])
if not format or post_id == '' or not whole(ARGV[6]) then return {'malformed'} end
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
-- After the server's clock went back the newest would have the lowest time, and be the first to be forgotten.
local last = tonumber(redis.call('ZRANGE', K.seen, -1, -1, 'WITHSCORES')[2] or '0')
local seq = tonumber(f.seq) + 1
append_entry(K.journal, seq, now, ARGV[4])
redis.call('RPUSH', K.mailbox, ARGV[3])
redis.call('ZADD', K.seen, last > now and last + 1 or now, post_id)
redis.call('ZREMRANGEBYRANK', K.seen, 0, -1025)
local patch = {'seq', seq, 'posts', f.posts + 1, 'updated', now}
if expected ~= '' then
  patch[#patch + 1] = 'answered'
  patch[#patch + 1] = '1'
end
local function set(name, value)
  patch[#patch + 1] = name
  patch[#patch + 1] = value
end
if f.format < format then set('format', format) end
local moves, rank = f.phase == 'waiting', f.rank
if cancel ~= '' then
  set('cancel', cancel)
  if ARGV[10] == '1' then set('immediate', '1') end
  if f.phase ~= 'finalizing' then
    rank = front(f.rank)
    if rank ~= f.rank then set('rank', rank) end
    moves = moves or (f.phase == 'ready' and rank ~= f.rank)
    redis.call('ZREM', K.sent, sid)  -- a wake-up may be under way to where nobody is
  end
end
if moves then
  set('phase', 'ready')
  set('since', now)
  redis.call('ZREM', K.due, sid)
  reindex(K.by, sid, f.app, f.rank, {phase = f.phase, status = f.status, since = tonumber(f.since)},
    {phase = 'ready', status = f.status, rank = rank}, now)
end
redis.call('HSET', K.record, unpack(patch))
redis.call('HINCRBY', K.stats, 'posted', 1)
redis.call('PUBLISH', ARGV[8], sid)
if cancel ~= '' then redis.call('PUBLISH', ARGV[9], sid) end
return {'posted', f.phase, now}
