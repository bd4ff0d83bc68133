INSERT INTO {database}.quality_units (project, rollout, environment, service, metric, hour, unit, revision, request_id)
SELECT {project:String}, rollout, environment, service, metric, toDateTime({hour:UInt32} * 3600, 'UTC'), unit, {revision:UInt64}, request_id
FROM stage_changed
