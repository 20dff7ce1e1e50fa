--! keys: sent left
--! uses: clock whole
-- leave: nobody who lives can work on a session, so nobody is woken for it for a while. It keeps its place in line, and its
-- wake-up is not under way any more: what is under way leaves no room for others.
--
--   sent  zset  sid removed          left  zset  sid -> ms until which a tick passes it over
--
-- Answers: left · malformed. Replay: it is left for a moment longer.
--
-- ARGV: sid, ms
local ms = whole(ARGV[2])
if not ms then return {'malformed'} end
redis.call('ZREM', K.sent, ARGV[1])
redis.call('ZADD', K.left, now_ms() + ms, ARGV[1])
return {'left'}
