--! keys: counter
--! uses: whole
-- mint: take the next numbers of a day's ids.
-- Answers: minted (the last of them) · malformed. Replay: it takes more; a number that is never used harms nothing.
--
--   counter  string  the last number that was taken; it goes some time after its day, whoever died in between
--
-- ARGV: how many, seconds for which the counter is kept
local count, seconds = whole(ARGV[1]), whole(ARGV[2])
if not count or count == 0 or not seconds or seconds == 0 then return {'malformed'} end
local number = redis.call('INCRBY', K.counter, count)
if redis.call('TTL', K.counter) < 0 then redis.call('EXPIRE', K.counter, seconds) end -- NX is for servers from 7.0 on
return {'minted', number}
