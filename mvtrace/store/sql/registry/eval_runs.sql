-- Runs of evals, the newest first: what each is pinned to, how much of it there is, and whether it is
-- whole; where more entries name it than it has pieces, which those are. An empty list of versions, and
-- an empty suite, mean any.
SELECT
    composite,
    suite,
    scorer,
    run,
    uniqExact(entry, example, repeat) AS results,
    uniqExactIf((entry, example, repeat), value IS NOT NULL) AS scored,
    uniqExact(example) AS examples,
    if(uniqExact(entry) = any(pieces) AND uniqExact(piece) = any(pieces) AND uniqExact(pieces) = 1, 1, 0) AS is_whole,
    if(uniqExact(entry) > min(pieces), groupUniqArray(2000)(entry), []) AS claims,
    toString(toUnixTimestamp64Nano(min(recorded_at))) AS recorded
FROM eval_results
WHERE project = {project:String}
    AND (empty({composites:Array(String)}) OR composite IN {composites:Array(String)})
    AND ({suite:String} = '' OR suite = {suite:String})
GROUP BY
    composite,
    suite,
    scorer,
    run
ORDER BY
    min(recorded_at) DESC,
    run
LIMIT {limit:UInt32}
