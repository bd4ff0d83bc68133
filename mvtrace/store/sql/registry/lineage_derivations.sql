-- What derivations say, by their digests.
SELECT DISTINCT digest, body, actor, actor_label
FROM registry_entries
WHERE project = {project:String} AND kind = 'derivation' AND digest IN {digests:Array(String)}
