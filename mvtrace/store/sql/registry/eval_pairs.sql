-- The examples of one suite as two versions did on them: the mean of all samples of the runs named, how
-- many samples have a score and how many have none. Two clusters of one example contradict. Entries that
-- name a run and are none of its pieces are strays.
SELECT
    example,
    any(cluster) AS grouped,
    uniqExact(cluster) AS clusters,
    avgIf(value, run IN {first:Array(String)}) AS first,
    avgIf(value, run IN {second:Array(String)}) AS second,
    countIf(value IS NOT NULL AND run IN {first:Array(String)}) AS first_scored,
    countIf(value IS NOT NULL AND run IN {second:Array(String)}) AS second_scored,
    countIf(value IS NULL AND run IN {first:Array(String)}) AS first_unscored,
    countIf(value IS NULL AND run IN {second:Array(String)}) AS second_unscored
FROM
(
    SELECT DISTINCT run, example, repeat, cluster, value
    FROM eval_results
    WHERE project = {project:String}
        AND suite = {suite:String}
        AND scorer = {scorer:String}
        AND (run IN {first:Array(String)} OR run IN {second:Array(String)})
        AND NOT has({strays:Array(String)}, entry)
)
GROUP BY example
ORDER BY example
