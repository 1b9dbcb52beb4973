-- SPDX-License-Identifier: MIT
-- What a database of schema 3 had: a test fills one of these and upgrades it.

CREATE TABLE IF NOT EXISTS pairs (
  k       VARBINARY(512)    NOT NULL PRIMARY KEY,
  v       LONGBLOB          NULL                COMMENT 'the value; NULL = tombstone',
  type    VARBINARY(128)    NOT NULL DEFAULT 'application/octet-stream',
  version BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT '(microseconds since 1970 UTC << 10) | partition id',
  created BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'the version at which this life of the key began',
  expires BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'milliseconds since 1970 UTC; 0 = never, 1 = tombstone',
  slot    SMALLINT UNSIGNED AS (CRC32(k) & 16383) STORED,
  KEY by_slot_version_expires (slot, version, expires) -- holds k too: digests and purges read no rows
) ENGINE=InnoDB;

-- Schema version 1 had a narrower index.
ALTER TABLE pairs ADD INDEX IF NOT EXISTS by_slot_version_expires (slot, version, expires),
                  DROP INDEX IF EXISTS by_slot;

-- What changed, in the order in which it began to change: a hint for sync and the feed, never the
-- truth, which is the row in pairs.
CREATE TABLE IF NOT EXISTS changes (
  seq     BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT PRIMARY KEY,
  version BIGINT UNSIGNED   NOT NULL,
  op      TINYINT UNSIGNED  NOT NULL  COMMENT '0 = filler, 1 = put, 2 = tombstone, 3 = row removed by SQL; + 128 = applied from another partition',
  k       VARBINARY(512)    NOT NULL
) ENGINE=InnoDB;

-- Rows that SQL removed (DELETE, REPLACE, a rename) and for which sync has not yet made tombstones.
CREATE TABLE IF NOT EXISTS removed (
  k       VARBINARY(512)    NOT NULL PRIMARY KEY,
  version BIGINT UNSIGNED   NOT NULL  COMMENT 'of the removal'
) ENGINE=InnoDB;

-- Writes that this partition took because the home of their keys was away, until sync has brought
-- them there: whoever reads a key of that home asks here too.
CREATE TABLE IF NOT EXISTS diverts (
  target  SMALLINT UNSIGNED NOT NULL  COMMENT 'the home that was away',
  writer  BIGINT UNSIGNED   NOT NULL  COMMENT 'the connection that wrote, so that no two wait for each other',
  version BIGINT UNSIGNED   NOT NULL  COMMENT 'of its last such write',
  PRIMARY KEY (target, writer)
) ENGINE=InnoDB;

-- How far sync has read the change logs of the other partitions into this one.
CREATE TABLE IF NOT EXISTS cursors (
  source   SMALLINT UNSIGNED NOT NULL PRIMARY KEY  COMMENT 'the other partition',
  pass     BIGINT UNSIGNED   NOT NULL  COMMENT 'the last pass of sync that the source took part in',
  high     BIGINT UNSIGNED   NOT NULL  COMMENT 'changes.seq up to which the log was read',
  gaps     LONGTEXT          NOT NULL  COMMENT 'numbers below high that were not there yet: from-to@seen:since ...; both in milliseconds since 1970 UTC',
  marked   BIGINT UNSIGNED   NOT NULL  COMMENT 'when the log was last read to its end, milliseconds since 1970 UTC by the source',
  frontier BIGINT UNSIGNED   NOT NULL  COMMENT 'every write of the source with a lesser version has arrived'
) ENGINE=InnoDB;

-- What this partition knows of itself: one row, or none in a blank partition.
CREATE TABLE IF NOT EXISTS sherd_partition (
  one      TINYINT UNSIGNED  NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1),
  id       SMALLINT UNSIGNED NOT NULL            COMMENT 'N of [partition-N]',
  seeded   TINYINT UNSIGNED  NOT NULL DEFAULT 0  COMMENT '1 = it has all that it should; 0 = blank or from a backup, until sync has filled it',
  ring     INT UNSIGNED      NOT NULL DEFAULT 0  COMMENT 'fingerprint of the slots that it owned when it was seeded',
  pass     BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'the last pass of sync that it took part in, milliseconds since 1970 UTC',
  floor    BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'tombstones of lesser versions may be gone',
  token    BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'of the one sync that may change anything here',
  verified SMALLINT UNSIGNED NOT NULL DEFAULT 0  COMMENT 'the slot at which the next pass goes on to compare',
  trimmed  BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'changes.seq up to which entries of the log may be gone'
) ENGINE=InnoDB;

-- Schema version 2 did not know how far its log was trimmed.
ALTER TABLE sherd_partition ADD COLUMN IF NOT EXISTS
  trimmed  BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'changes.seq up to which entries of the log may be gone';

CREATE TABLE IF NOT EXISTS sherd_schema (
  version INT UNSIGNED NOT NULL PRIMARY KEY
) ENGINE=InnoDB;

DELIMITER //

-- The one rule that gives versions, for every writer: it only grows, whatever the clock does. A row
-- without a value is a tombstone and the other way round. @sherd_ceiling keeps a clock that has run
-- away from giving versions that no other clock will reach.
--
-- Connections that apply another partition's rows bring the version with them:
--   @sherd_apply = 1   the server's; they may not bring back what may have been purged
--   @sherd_apply = 2   sync's
--   @sherd_apply = 3   sync's, and nothing is logged
CREATE OR REPLACE TRIGGER pairs_before_insert BEFORE INSERT ON pairs FOR EACH ROW
IF @sherd_apply THEN
  IF NEW.version >> 10 > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + 5000000 THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001, MESSAGE_TEXT = 'version more than 5 s in the future';
  ELSEIF @sherd_apply = 1 THEN
    IF NEW.version < (SELECT floor FROM sherd_partition) THEN -- of its own: a sub-query costs even where it is not reached
      SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30002, MESSAGE_TEXT = 'version below the floor of purged tombstones';
    END IF;
  END IF;
ELSEIF @sherd_ceiling < TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) THEN
  SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30004, MESSAGE_TEXT = 'the clock of the partition has run away';
ELSE
  SET NEW.version = GREATEST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
                             IFNULL(@sherd_floor, 0)) << 10 | IFNULL(@sherd_node, 0),
      NEW.created = NEW.version,
      NEW.v       = IF(NEW.expires = 1, NULL, NEW.v),
      NEW.expires = IF(NEW.v IS NULL, 1, NEW.expires);
END IF //

CREATE OR REPLACE TRIGGER pairs_before_update BEFORE UPDATE ON pairs FOR EACH ROW
IF @sherd_apply THEN
  IF NEW.version >> 10 > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + 5000000 THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001, MESSAGE_TEXT = 'version more than 5 s in the future';
  ELSEIF NEW.version <= (SELECT version FROM removed WHERE k = NEW.k) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30003, MESSAGE_TEXT = 'SQL removed the row later';
  END IF;
ELSE
  SET NEW.version = GREATEST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
                             IFNULL(@sherd_floor, 0), (OLD.version >> 10) + 1) << 10 | IFNULL(@sherd_node, 0),
      NEW.created = IF(NEW.k = OLD.k AND (OLD.expires = 0 OR OLD.expires >
                         TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000),
                       OLD.created, NEW.version),
      -- An UPDATE that names only one of v and expires means that one.
      NEW.v       = IF(NEW.expires = 1 AND OLD.expires <> 1, NULL, NEW.v),
      NEW.expires = IF(NEW.v IS NULL, 1, IF(NEW.expires = 1, 0, NEW.expires));
END IF //

-- Whether SQL removed the row later is asked once this connection holds it: a DELETE may have made it
-- wait. @sherd_divert is the home for which a connection of the server writes here.
CREATE OR REPLACE TRIGGER pairs_after_insert AFTER INSERT ON pairs FOR EACH ROW
BEGIN
  IF @sherd_apply THEN
    IF NEW.version <= (SELECT version FROM removed WHERE k = NEW.k) THEN -- of its own, as above
      SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30003, MESSAGE_TEXT = 'SQL removed the row later';
    END IF;
  END IF;
  IF NOT @sherd_apply <=> 3 THEN
    INSERT INTO changes (version, op, k)
    VALUES (NEW.version, IF(NEW.v IS NULL, 2, 1) | IF(@sherd_apply, 128, 0), NEW.k);
    IF @sherd_divert THEN
      INSERT INTO diverts (target, writer, version) VALUES (@sherd_divert, CONNECTION_ID(), NEW.version)
      ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));
    END IF;
  END IF;
END //

CREATE OR REPLACE TRIGGER pairs_after_update AFTER UPDATE ON pairs FOR EACH ROW
IF NOT @sherd_apply <=> 3 THEN
  INSERT INTO changes (version, op, k)
  VALUES (NEW.version, IF(NEW.v IS NULL, 2, 1) | IF(@sherd_apply, 128, 0), NEW.k);
  IF @sherd_divert THEN
    INSERT INTO diverts (target, writer, version) VALUES (@sherd_divert, CONNECTION_ID(), NEW.version)
    ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));
  END IF;
  -- A rename: the old key is gone like a deleted one. UPDATE IGNORE comes here also for a rename
  -- that did not happen.
  IF NEW.k <> OLD.k THEN
    IF NOT EXISTS (SELECT 1 FROM pairs WHERE k = OLD.k) THEN
      INSERT INTO changes (version, op, k) VALUES (NEW.version, 3, OLD.k);
      INSERT INTO removed (k, version) VALUES (OLD.k, NEW.version)
      ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));
    END IF;
  END IF;
END IF //

-- A trigger may not write its own table, so that DELETE only leaves notes; sync makes the tombstone.
CREATE OR REPLACE TRIGGER pairs_after_delete AFTER DELETE ON pairs FOR EACH ROW
IF NOT IFNULL(@sherd_apply, 0) THEN
  INSERT INTO removed (k, version)
  VALUES (OLD.k, GREATEST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
                          (OLD.version >> 10) + 1) << 10 | IFNULL(@sherd_node, 0))
  ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));
  INSERT INTO changes (version, op, k)
  VALUES (GREATEST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
                   (OLD.version >> 10) + 1) << 10 | IFNULL(@sherd_node, 0), 3, OLD.k);
END IF //

-- What the server looks at when it connects: the account that it uses may not see triggers itself.
CREATE OR REPLACE FUNCTION sherd_triggers() RETURNS INT READS SQL DATA SQL SECURITY DEFINER
RETURN (SELECT COUNT(*) FROM information_schema.triggers
        WHERE trigger_schema = DATABASE() AND event_object_table = 'pairs'
          AND trigger_name IN ('pairs_before_insert', 'pairs_before_update', 'pairs_after_insert',
                               'pairs_after_update', 'pairs_after_delete')) //

DELIMITER ;

REPLACE INTO sherd_schema (version) VALUES (3);
