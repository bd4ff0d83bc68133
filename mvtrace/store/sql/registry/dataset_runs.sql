-- Derivations that one transformation made, the oldest first.
SELECT digest, any(registry_entries.body) AS said
FROM registry_entries
WHERE project = {project:String} AND kind = 'derivation' AND JSONExtractString(registry_entries.body, 'how') = {how:String}
GROUP BY digest
ORDER BY min(received_at), digest
LIMIT 10001
