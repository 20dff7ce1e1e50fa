-- The value of a field in ARGV from `first` to `last`, nil without it.
local function given(name, first, last)
  for i = first, last - 1, 2 do
    if ARGV[i] == name then return ARGV[i + 1] end
  end
end

-- By what a session was begun that is there, or was: the request's stamp, false where there is none; the mark of its key, '' where
-- that is not known; and whether it is this very request, under the same key.
local function begun_by(digest, first, last)
  local v = redis.call('HMGET', K.record, 'submit', 'key')
  local stamp = v[1] or redis.call('GET', K.gone)
  return stamp, v[2] or '', stamp == digest and (not v[2] or v[2] == given('key', first, last))
end

-- Begin a session: its hash with the fields in ARGV from `first` to `last`, its first entry, its place in line. False, and
-- nothing written, where they lack the app or the rank.
local function begin_session(sid, digest, entry, first, last, now)
  local record = {'submit', digest, 'phase', 'ready', 'status', '', 'since', now, 'created', now, 'updated', now,
    'rev', '0', 'fence', '0', 'attempts', '0', 'seq', '1', 'posts', '0'}
  local app, rank = given('app', first, last), given('rank', first, last)
  for i = first, last do record[#record + 1] = ARGV[i] end
  if not app or not rank then return false end
  redis.call('HSET', K.record, unpack(record))
  append_entry(K.journal, 1, now, entry)
  redis.call('ZADD', K.by, 0, index_member(app, 'ready', '', rank, now, sid))
  redis.call('HINCRBY', K.stats, 'submitted:' .. app, 1)
  return true
end
