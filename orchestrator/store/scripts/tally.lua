--! keys: by
--! uses: groups
-- tally: how many sessions stand in each group of a partition's index, and since when the oldest does.
--
-- Answer: app, bucket, rank, count, oldest, for one group after the other
local told = {}
for _, group in ipairs(groups_of(K.by)) do
  for _, part in ipairs({group.app, group.bucket, group.rank, group.count, group.since}) do told[#told + 1] = part end
end
return {'tally', told}
