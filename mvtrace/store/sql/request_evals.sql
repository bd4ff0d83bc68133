-- What evals gave the answer of a request, where results name it; several ids where parts of its trace
-- have their own. The scorer's name is the one it is registered under, else the beginning of its digest.
SELECT
    if(names.name = '', substring(results.scorer, 1, 12), names.name) AS title,
    if(match(results.scorer, '^[0-9a-f]{64}$'), concat('sha256:', results.scorer), results.scorer) AS scorer,
    value,
    label,
    toUnixTimestamp64Nano(recorded_at) AS at,
    suite,
    example,
    run
FROM
(
    SELECT toString(scorer) AS scorer, value, toString(label) AS label, recorded_at, toString(suite) AS suite, example, run, repeat, entry
    FROM eval_results
    WHERE project = {project:String}
        AND request_id IN (SELECT toFixedString(unhex(arrayJoin({request_ids:Array(String)})), 16))
    LIMIT 1 BY suite, scorer, run, entry, example, repeat
    LIMIT 1000
) AS results
LEFT JOIN
(
    SELECT substring(digest, 8) AS scorer, argMax(name, received_at) AS name
    FROM registry_entries
    WHERE project = {project:String}
        AND kind = 'scorer'
    GROUP BY scorer
) AS names USING (scorer)
ORDER BY title, results.scorer, at, run, example
