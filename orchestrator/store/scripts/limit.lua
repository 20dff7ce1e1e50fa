--! keys: limits
--! uses: clock whole
-- limit: one request against a rate, by the generic cell rate algorithm. A limit is one number, the time at
-- which it would be unused again; once that has passed it is forgotten, so the set holds only who is busy now.
--
--   limits  zset  name -> theoretical arrival time in ms
--
-- Replay: it counts twice, and whoever asks has one request less for as long as one takes. That errs on the safe side, and
-- to know each request again would cost more than the requests.
--
-- ARGV: name, microseconds between requests, burst. Answers: allowed (how many more at once) · limited (ms to wait)
local name, gap, burst = ARGV[1], whole(ARGV[2]), whole(ARGV[3])
if not gap or not burst or burst < 1 then return {'malformed'} end
local now, each = now_ms(), gap / 1000
redis.call('ZREMRANGEBYSCORE', K.limits, '-inf', now)
-- No more than `burst` can be owed: what says so was set before the server's clock went back.
local due = math.min(tonumber(redis.call('ZSCORE', K.limits, name) or now), now + burst * each) + each
local early = due - burst * each - now
if early > 0 then return {'limited', math.ceil(early)} end
redis.call('ZADD', K.limits, string.format('%.3f', due), name)
if each == 0 then return {'allowed', burst} end
return {'allowed', math.floor(-early / each)}
