--! keys: record journal stats
--! uses: clock journal whole
-- refuse: note in a session's journal that an answer to it was refused at the door; nothing else changes.
--
-- Answers: noted · missing · enough (it has as many such notes as it may, or its journal is nearly full).
-- A note is for people: who tried, when and why not. It is bounded, because anybody may try again and again.
-- Replay: the record knows the last request by its name; noted, once.
--
--   record   hash    seq + 1, refusals + 1         journal  stream  a `refused` entry
--
-- ARGV: sid, entry, most refusals, most journal entries, name of this very request
local request = ARGV[5]
if not request or request == '' then return {'malformed'} end
local v = redis.call('HMGET', K.record, 'phase', 'seq', 'refusals', 'refused')
if not v[1] then return {'missing'} end
local seq, refusals = whole(v[2] or ''), whole(v[3] or '0')
local most, entries = whole(ARGV[3]), whole(ARGV[4])
if not (seq and refusals and most and entries) then return {'malformed'} end
if v[4] == request then return {'noted', seq} end
if refusals >= most or seq + 1 > entries - 100 then return {'enough', refusals} end
append_entry(K.journal, seq + 1, now_ms(), ARGV[2])
redis.call('HSET', K.record, 'seq', seq + 1, 'refusals', refusals + 1, 'refused', request)
redis.call('HINCRBY', K.stats, 'refused', 1)
return {'noted', seq + 1}
