-- How far the roll-up of every project is, and which of its hours lack something.
SELECT project, number, to_ms
FROM
(
    SELECT project, toUInt32(intDiv(toUnixTimestamp(hour), 3600)) AS number,
        argMax((lacks, toUnixTimestamp64Milli(swept_to)), revision) AS last, last.2 AS to_ms
    FROM {database}.quality_swept
    GROUP BY project, hour
)
WHERE number = 0 OR last.1
ORDER BY project, number
