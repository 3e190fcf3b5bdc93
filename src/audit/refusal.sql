-- ---------------------------------------------------------------------------
-- Refused deltas: whoever is refused again and again must not fill the journal
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.refusal (
    device          uuid        NOT NULL,
    reason          text        COLLATE "C" NOT NULL,
    reconciliation  uuid        NOT NULL,         -- the latest one in the journal
    journaled_at    timestamptz NOT NULL,
    repeated        bigint      NOT NULL,         -- since then, only counted
    CONSTRAINT refusal_pkey PRIMARY KEY (device, reason)
) WITH (fillfactor = 70);                         -- counting is a heap-only update
COMMENT ON TABLE offline_sync.refusal IS 'which refused delta of a device the journal has, for each reason, and how many came after it';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.refusal', '');

