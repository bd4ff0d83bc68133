-- Up to when all that the project received is in the roll-up (Unix milliseconds; 0: nothing is known), and
-- of the hours of a time those that lack something nevertheless, and since when the oldest of them does.
SELECT maxIf(to_ms, number = 0) AS swept_ms, countIf(number > 0) AS lacking, minIf(to_ms, number > 0) AS lacking_ms
FROM
(
    SELECT toUInt32(intDiv(toUnixTimestamp(hour), 3600)) AS number,
        argMax((lacks, toUnixTimestamp64Milli(swept_to)), revision) AS last, last.2 AS to_ms
    FROM quality_swept
    WHERE project = {project:String}
    GROUP BY number
)
WHERE number = 0 OR (last.1 AND number >= {since_hour:UInt32} AND number <= {until_hour:UInt32})
