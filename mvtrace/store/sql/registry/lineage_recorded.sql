-- How much was recorded of what things were made from, and compared, and when the last of it came.
SELECT count() AS recorded, toUnixTimestamp64Milli(max(received_at)) AS last
FROM registry_entries
WHERE project = {project:String} AND kind IN ('certificate', 'derivation')
