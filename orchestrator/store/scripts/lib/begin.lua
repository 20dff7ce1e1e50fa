-- Begin a session: its hash with the fields in ARGV from `first` to `last`, its first entry, its place in line. False, and
-- nothing written, where they lack the app or the rank.
local function begin_session(sid, digest, entry, first, last, now)
  local record = {'submit', digest, 'phase', 'ready', 'status', '', 'since', now, 'created', now, 'updated', now,
    'rev', '0', 'fence', '0', 'attempts', '0', 'seq', '1', 'posts', '0'}
  local app, rank
  for i = first, last, 2 do
    record[#record + 1] = ARGV[i]
    record[#record + 1] = ARGV[i + 1]
    if ARGV[i] == 'app' then app = ARGV[i + 1] end
    if ARGV[i] == 'rank' then rank = ARGV[i + 1] end
  end
  if not app or not rank then return false end
  redis.call('HSET', K.record, unpack(record))
  append_entry(K.journal, 1, now, entry)
  redis.call('ZADD', K.by, 0, index_member(app, 'ready', '', rank, now, sid))
  redis.call('HINCRBY', K.stats, 'submitted:' .. app, 1)
  return true
end
