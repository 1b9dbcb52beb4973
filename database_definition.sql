-- SPDX-License-Identifier: MIT
-- Everything that Sherd needs in a partition (MariaDB 10.6 or later). Load it as an administrator,
-- on each server:   mariadb < database_definition.sql
-- You can load it again at any time. Data stays. A store of an older schema becomes one of this
-- schema; stop its sherd-servers and sherd-sync first.
--
-- It makes two databases, sherd and test_sherd (for SHERD_ENV=test), which differ in nothing but the
-- name, and an account `sherd` that may read and write rows and nothing else. Nobody can sign in as
-- `sherd` before you give it a password:
--   mariadb -e "SET PASSWORD FOR sherd = PASSWORD('...')"
--
-- `make definition` writes this file from store/sql/schema.sql.

SET NAMES utf8mb4;
SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';
CREATE USER IF NOT EXISTS sherd IDENTIFIED VIA mysql_native_password USING 'invalid';

-- ---------------------------------------------------------------- sherd
CREATE DATABASE IF NOT EXISTS sherd;
USE sherd;

CREATE TABLE IF NOT EXISTS pairs (
  k       VARBINARY(512)    NOT NULL PRIMARY KEY,
  v       LONGBLOB          NULL                COMMENT 'the value; NULL = tombstone',
  type    VARBINARY(128)    NOT NULL DEFAULT 'application/octet-stream',
  version BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT '(microseconds since 1970 UTC << 10) | partition id',
  created BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'the version at which this life of the key began',
  expires BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'milliseconds since 1970 UTC; 0 = never',
  seq     BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'changes.seq of the entry that speaks for this row',
  hash    INT UNSIGNED      NOT NULL DEFAULT (CRC32(k)) COMMENT 'the slot is hash & 16383',
  touched TIMESTAMP(6)      NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
                            COMMENT 'not NULL: SQL wrote the row last, and it has not got its version yet',
  ends    BIGINT UNSIGNED   AS (IF(v IS NULL, 1, expires)) STORED COMMENT 'alive: 0, or in the future',
  KEY touched (touched), -- neither changes when Sherd overwrites a live pair
  KEY ends (ends),
  CONSTRAINT the_key_is_empty CHECK (k <> ''),
  CONSTRAINT touched_is_not_a_time CHECK (touched > 0),
  CONSTRAINT a_key_cannot_be_renamed_use_INSERT_and_DELETE CHECK (hash = CRC32(k))
) ENGINE=InnoDB;

-- What changed, in the order in which it began to change: one row a batch. A hint for sync and the
-- feed, never the truth: an entry speaks for a key only while the key's row in `pairs` names it.
CREATE TABLE IF NOT EXISTS changes (
  seq     BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT PRIMARY KEY,
  op      TINYINT UNSIGNED  NOT NULL  COMMENT '0 = filler, 1 = written here, 129 = applied from another partition',
  version BIGINT UNSIGNED   NOT NULL  COMMENT 'that the batch was given',
  ks      MEDIUMBLOB        NOT NULL  COMMENT 'the keys, each behind its length and = (put) or - (removed): 5=hello3-bye'
) ENGINE=InnoDB;

-- Rows that SQL deleted and that are not tombstones yet.
CREATE TABLE IF NOT EXISTS removed (
  k       VARBINARY(512)    NOT NULL PRIMARY KEY,
  version BIGINT UNSIGNED   NOT NULL  COMMENT 'of the removal'
) ENGINE=InnoDB;

-- Writes that this partition took because the home of their keys was away, until sync has brought
-- them there. Whoever reads a key of that home asks here too.
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
  verified VARBINARY(512)    NOT NULL DEFAULT '' COMMENT 'the key behind which the next pass goes on to compare',
  trimmed  BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'changes.seq up to which entries of the log may be gone'
) ENGINE=InnoDB;

-- Who owns what: the same row in all members, the one with the highest epoch counts. Only
-- sherd-sync changes it. A write of a server names its epoch, and is refused under another one.
CREATE TABLE IF NOT EXISTS placement (
  one            TINYINT UNSIGNED NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1),
  store          CHAR(36) CHARACTER SET ascii NOT NULL COMMENT 'the name of the store, a UUID, for ever',
  epoch          BIGINT UNSIGNED  NOT NULL  COMMENT 'of this placement; 1 is the first',
  phase          VARBINARY(9)     NOT NULL  COMMENT 'settled, announced, moving, sweeping',
  members        TEXT CHARACTER SET ascii NOT NULL COMMENT 'who own, id:weight, as in 1:1 2:1',
  replicas       SMALLINT UNSIGNED NOT NULL COMMENT 'owners of a pair; 0 = all members',
  other_members  TEXT CHARACTER SET ascii NOT NULL COMMENT 'announced: who will own; moving: who did',
  other_replicas SMALLINT UNSIGNED NOT NULL,
  gone           TEXT CHARACTER SET ascii NOT NULL COMMENT 'ids that were forgotten and never come back',
  since          BIGINT UNSIGNED  NOT NULL  COMMENT 'when this epoch came here, milliseconds since 1970 UTC'
) ENGINE=InnoDB;

-- The sherd-servers that are running: sync changes nothing that one of them does not know yet.
CREATE TABLE IF NOT EXISTS servers (
  id      BIGINT UNSIGNED   NOT NULL PRIMARY KEY  COMMENT 'of the process, by chance',
  host    VARBINARY(255)    NOT NULL,
  pid     INT UNSIGNED      NOT NULL,
  version VARBINARY(32)     NOT NULL  COMMENT 'of the program',
  epoch   BIGINT UNSIGNED   NOT NULL  COMMENT 'of the placement by which it works',
  reaches TEXT CHARACTER SET ascii NOT NULL COMMENT 'ids of the partitions that it can reach',
  seen    BIGINT UNSIGNED   NOT NULL  COMMENT 'when it wrote this, milliseconds since 1970 UTC'
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS sherd_schema (
  version INT UNSIGNED NOT NULL PRIMARY KEY
) ENGINE=InnoDB;

DELIMITER //

-- Brings a store of an older schema here, with its data, its log and its cursors. A step that was
-- done before, or was interrupted, is not done twice.
CREATE OR REPLACE PROCEDURE sherd_upgrade()
IF EXISTS (SELECT 1 FROM information_schema.columns
           WHERE table_schema = DATABASE() AND table_name = 'changes' AND column_name = 'k') THEN
  -- `touched` comes as NULL first: the rows that are there have their versions.
  ALTER TABLE pairs
    DROP INDEX IF EXISTS by_slot, DROP INDEX IF EXISTS by_slot_version_expires, DROP COLUMN IF EXISTS slot,
    ADD COLUMN IF NOT EXISTS seq BIGINT UNSIGNED NOT NULL DEFAULT 0
      COMMENT 'changes.seq of the entry that speaks for this row',
    ADD COLUMN IF NOT EXISTS hash INT UNSIGNED NOT NULL DEFAULT (CRC32(k)) COMMENT 'the slot is hash & 16383',
    ADD COLUMN IF NOT EXISTS touched TIMESTAMP(6) NULL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS ends BIGINT UNSIGNED AS (IF(v IS NULL, 1, expires)) STORED
      COMMENT 'alive: 0, or in the future';
  ALTER TABLE pairs
    MODIFY touched TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
      COMMENT 'not NULL: SQL wrote the row last, and it has not got its version yet',
    MODIFY expires BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'milliseconds since 1970 UTC; 0 = never',
    ADD KEY IF NOT EXISTS touched (touched), ADD KEY IF NOT EXISTS ends (ends),
    ADD CONSTRAINT IF NOT EXISTS the_key_is_empty CHECK (k <> ''),
    ADD CONSTRAINT IF NOT EXISTS touched_is_not_a_time CHECK (touched > 0),
    ADD CONSTRAINT IF NOT EXISTS a_key_cannot_be_renamed_use_INSERT_and_DELETE CHECK (hash = CRC32(k));
  ALTER TABLE sherd_partition
    ADD COLUMN IF NOT EXISTS trimmed BIGINT UNSIGNED NOT NULL DEFAULT 0
      COMMENT 'changes.seq up to which entries of the log may be gone';
  ALTER TABLE sherd_partition
    MODIFY verified VARBINARY(512) NOT NULL DEFAULT ''
      COMMENT 'the key behind which the next pass goes on to compare';
  -- The last entry of a key is the one that speaks for its row.
  UPDATE pairs JOIN (SELECT k, MAX(seq) AS last FROM changes GROUP BY k) AS entry USING (k)
    SET pairs.seq = entry.last, pairs.touched = pairs.touched; -- SQL may have written the row since
  -- Else a tombstone's expiry would end the value that an UPDATE gives it.
  UPDATE pairs SET expires = 0, touched = touched WHERE v IS NULL AND expires = 1;
  -- Last, for it says that all of this is done.
  ALTER TABLE changes ADD COLUMN IF NOT EXISTS ks MEDIUMBLOB NOT NULL DEFAULT '';
  UPDATE changes SET ks = CONCAT(LENGTH(k), IF(op & 127 = 1, '=', '-'), k), op = 1 | op & 128
  WHERE k <> '' AND ks = '';
  ALTER TABLE changes
    DROP COLUMN k, MODIFY op TINYINT UNSIGNED NOT NULL
      COMMENT '0 = filler, 1 = written here, 129 = applied from another partition' AFTER seq,
    MODIFY version BIGINT UNSIGNED NOT NULL COMMENT 'that the batch was given',
    MODIFY ks MEDIUMBLOB NOT NULL
      COMMENT 'the keys, each behind its length and = (put) or - (removed): 5=hello3-bye';
END IF //

-- sherd_log begins a batch of the server: it writes the batch's log entry, whose number it leaves in
-- @sherd_seq, and returns the batch's version. `least_us` is the least time that the version may
-- have. A clock beyond `most_us` has run away, or the partition was frozen when the batch came.
-- `epoch_` is that of the placement by which the batch comes here; NULL: whatever it is, it belongs
-- here. The lock keeps the placement until the batch is committed.
-- (READS SQL DATA is what a server with a binary log wants to hear; it is not held to it.)
CREATE OR REPLACE FUNCTION sherd_log(keys_ MEDIUMBLOB, id SMALLINT UNSIGNED, least_us BIGINT UNSIGNED,
                                     most_us BIGINT UNSIGNED, epoch_ BIGINT UNSIGNED)
RETURNS BIGINT UNSIGNED READS SQL DATA
BEGIN
  DECLARE now_us BIGINT UNSIGNED DEFAULT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6));
  IF epoch_ IS NOT NULL AND NOT epoch_ <=> (SELECT epoch FROM placement LOCK IN SHARE MODE) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30005, MESSAGE_TEXT = 'the placement is another one';
  END IF;
  IF now_us > most_us THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30004, MESSAGE_TEXT = 'the clock of the partition has run away';
  END IF;
  INSERT INTO changes (op, version, ks) VALUES (1, GREATEST(now_us, least_us) << 10 | id, keys_);
  SET @sherd_seq = LAST_INSERT_ID();
  RETURN GREATEST(now_us, least_us) << 10 | id;
END //

-- sherd_here returns the key if the placement is that of the epoch: a condition that no row meets
-- calls no sherd_log, and is decided all the same.
CREATE OR REPLACE FUNCTION sherd_here(key_ VARBINARY(512), epoch_ BIGINT UNSIGNED)
RETURNS VARBINARY(512) DETERMINISTIC READS SQL DATA
BEGIN
  IF NOT epoch_ <=> (SELECT epoch FROM placement LOCK IN SHARE MODE) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30005, MESSAGE_TEXT = 'the placement is another one';
  END IF;
  RETURN key_;
END //

-- sherd_log_applied begins a batch of rows that bring their versions, from `oldest` to `newest`. It
-- returns the number of the batch's log entry. A server may not bring back what may have been
-- purged; sync passes UINT64_MAX for `oldest`.
CREATE OR REPLACE FUNCTION sherd_log_applied(keys_ MEDIUMBLOB, oldest BIGINT UNSIGNED, newest BIGINT UNSIGNED)
RETURNS BIGINT UNSIGNED READS SQL DATA
BEGIN
  DECLARE now_us BIGINT UNSIGNED DEFAULT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6));
  IF newest >> 10 > now_us + 5000000 THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001, MESSAGE_TEXT = 'version more than 5 s in the future';
  ELSEIF oldest < (SELECT floor FROM sherd_partition) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30002, MESSAGE_TEXT = 'version below the floor of purged tombstones';
  ELSEIF keys_ IS NULL THEN -- a partition that nobody follows yet
    RETURN 0;
  END IF;
  INSERT INTO changes (op, version, ks) VALUES (129, now_us << 10, keys_);
  RETURN LAST_INSERT_ID();
END //

-- sherd_applied is asked of each row that was applied, while it is locked: whether SQL removed the
-- row later. A DELETE may have made it wait.
CREATE OR REPLACE FUNCTION sherd_applied(key_ VARBINARY(512), version_ BIGINT UNSIGNED)
RETURNS BIGINT UNSIGNED READS SQL DATA
BEGIN
  IF version_ <= (SELECT version FROM removed WHERE k = key_) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30003, MESSAGE_TEXT = 'SQL removed the row later';
  END IF;
  RETURN version_;
END //

-- sherd_diverted records that this partition took a write of `version_` for `target`, and returns
-- the version.
CREATE OR REPLACE FUNCTION sherd_diverted(target_ SMALLINT UNSIGNED, version_ BIGINT UNSIGNED)
RETURNS BIGINT UNSIGNED READS SQL DATA
BEGIN
  INSERT INTO diverts (target, writer, version) VALUES (target_, CONNECTION_ID(), version_)
  ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));
  RETURN version_;
END //

-- sherd_bury makes tombstones of up to `most` rows that SQL deleted, with keys behind `after_`, and
-- returns how many notes of `removed` it worked off. Where there is a row again that stays. If its version is below the
-- removal's (the version of its forerunner lay in the future) it is given the next one, not the
-- present time: it must not overtake what was written elsewhere since. A row that is unstamped is
-- given its version first, above that of the note. Removals that lie in the future stay for later.
CREATE OR REPLACE FUNCTION sherd_bury(id SMALLINT UNSIGNED, after_ VARBINARY(512), most INT)
RETURNS INT READS SQL DATA
BEGIN
  DECLARE at_end, found, gone INT DEFAULT 0;
  DECLARE key_ VARBINARY(512);
  DECLARE removal, entry BIGINT UNSIGNED;
  DECLARE keys_ MEDIUMBLOB DEFAULT '';
  DECLARE now_us BIGINT UNSIGNED DEFAULT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6));
  DECLARE page CURSOR FOR
    SELECT k, version FROM removed WHERE k > after_ AND version >> 10 < now_us + 4000000
    ORDER BY k LIMIT most FOR UPDATE SKIP LOCKED;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET at_end = 1;
  INSERT INTO changes (op, version, ks) VALUES (1, now_us << 10 | id, '');
  SET entry = LAST_INSERT_ID();
  OPEN page;
  every_note: LOOP
    FETCH page INTO key_, removal;
    IF at_end THEN
      LEAVE every_note;
    END IF;
    INSERT INTO pairs (k, v, type, version, created, expires, seq, touched)
    VALUES (key_, NULL, '', removal, removal, 0, entry, NULL)
    ON DUPLICATE KEY UPDATE
      seq     = IF(touched IS NULL AND version <= removal, entry, seq),
      version = IF(seq = entry, ((removal >> 10) + 1) << 10 | id, version),
      touched = touched;
    SET found = ROW_COUNT(); -- 0: a row that stays as it is, 1: none, 2: one that was given a version
    IF found THEN
      SET keys_ = CONCAT(keys_, LENGTH(key_), IF(found = 1, '-', '='), key_);
    END IF;
    DELETE FROM removed WHERE k = key_ AND version = removal
      AND NOT EXISTS (SELECT 1 FROM pairs WHERE pairs.k = key_ AND touched IS NOT NULL);
    SET gone = gone + ROW_COUNT();
  END LOOP;
  CLOSE page;
  UPDATE changes SET ks = keys_, op = keys_ <> '' WHERE seq = entry;
  RETURN gone;
END //


-- What the server looks at when it connects: the account that it uses may not see triggers itself.
CREATE OR REPLACE FUNCTION sherd_triggers() RETURNS INT READS SQL DATA SQL SECURITY DEFINER
RETURN (SELECT COUNT(*) FROM information_schema.triggers
        WHERE event_object_schema = DATABASE() AND event_object_table = 'pairs'
          AND trigger_name = 'pairs_after_delete') //

-- SQL clients that write meanwhile wait: each row that they change has a version or waits for one.
-- Schemas before 4 had triggers that gave versions and wrote the log.
LOCK TABLES pairs WRITE, changes WRITE, removed WRITE, sherd_partition WRITE //
DROP TRIGGER IF EXISTS pairs_before_insert //
DROP TRIGGER IF EXISTS pairs_before_update //
DROP TRIGGER IF EXISTS pairs_after_insert //
DROP TRIGGER IF EXISTS pairs_after_update //
CALL sherd_upgrade() //

-- What SQL deletes is noted: a trigger may not write its own table. @sherd_purges is set by sync,
-- whose deletions are no news. The removal's version is greater than the row's, and less than that
-- of the row that the same statement puts in its place (REPLACE). A version that SQL has put far
-- into the future counts for nothing.
CREATE OR REPLACE TRIGGER pairs_after_delete AFTER DELETE ON pairs FOR EACH ROW
BEGIN
  DECLARE now_us BIGINT UNSIGNED DEFAULT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6));
  IF @sherd_purges IS NULL THEN
    INSERT INTO removed (k, version)
    VALUES (OLD.k, GREATEST((now_us << 10) - 1,
                            IF(OLD.version >> 10 < now_us + 86400000000,
                               OLD.version + IF(OLD.touched IS NULL, 1, 1025), 0))) -- above its effective one
    ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));
  END IF;
END //

UNLOCK TABLES //
DROP PROCEDURE sherd_upgrade //

DELIMITER ;

REPLACE INTO sherd_schema (version) VALUES (4);
DELETE FROM sherd_schema WHERE version < 4;
GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON sherd.* TO sherd;

-- ---------------------------------------------------------------- test_sherd
CREATE DATABASE IF NOT EXISTS test_sherd;
USE test_sherd;

CREATE TABLE IF NOT EXISTS pairs (
  k       VARBINARY(512)    NOT NULL PRIMARY KEY,
  v       LONGBLOB          NULL                COMMENT 'the value; NULL = tombstone',
  type    VARBINARY(128)    NOT NULL DEFAULT 'application/octet-stream',
  version BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT '(microseconds since 1970 UTC << 10) | partition id',
  created BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'the version at which this life of the key began',
  expires BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'milliseconds since 1970 UTC; 0 = never',
  seq     BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'changes.seq of the entry that speaks for this row',
  hash    INT UNSIGNED      NOT NULL DEFAULT (CRC32(k)) COMMENT 'the slot is hash & 16383',
  touched TIMESTAMP(6)      NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
                            COMMENT 'not NULL: SQL wrote the row last, and it has not got its version yet',
  ends    BIGINT UNSIGNED   AS (IF(v IS NULL, 1, expires)) STORED COMMENT 'alive: 0, or in the future',
  KEY touched (touched), -- neither changes when Sherd overwrites a live pair
  KEY ends (ends),
  CONSTRAINT the_key_is_empty CHECK (k <> ''),
  CONSTRAINT touched_is_not_a_time CHECK (touched > 0),
  CONSTRAINT a_key_cannot_be_renamed_use_INSERT_and_DELETE CHECK (hash = CRC32(k))
) ENGINE=InnoDB;

-- What changed, in the order in which it began to change: one row a batch. A hint for sync and the
-- feed, never the truth: an entry speaks for a key only while the key's row in `pairs` names it.
CREATE TABLE IF NOT EXISTS changes (
  seq     BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT PRIMARY KEY,
  op      TINYINT UNSIGNED  NOT NULL  COMMENT '0 = filler, 1 = written here, 129 = applied from another partition',
  version BIGINT UNSIGNED   NOT NULL  COMMENT 'that the batch was given',
  ks      MEDIUMBLOB        NOT NULL  COMMENT 'the keys, each behind its length and = (put) or - (removed): 5=hello3-bye'
) ENGINE=InnoDB;

-- Rows that SQL deleted and that are not tombstones yet.
CREATE TABLE IF NOT EXISTS removed (
  k       VARBINARY(512)    NOT NULL PRIMARY KEY,
  version BIGINT UNSIGNED   NOT NULL  COMMENT 'of the removal'
) ENGINE=InnoDB;

-- Writes that this partition took because the home of their keys was away, until sync has brought
-- them there. Whoever reads a key of that home asks here too.
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
  verified VARBINARY(512)    NOT NULL DEFAULT '' COMMENT 'the key behind which the next pass goes on to compare',
  trimmed  BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'changes.seq up to which entries of the log may be gone'
) ENGINE=InnoDB;

-- Who owns what: the same row in all members, the one with the highest epoch counts. Only
-- sherd-sync changes it. A write of a server names its epoch, and is refused under another one.
CREATE TABLE IF NOT EXISTS placement (
  one            TINYINT UNSIGNED NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1),
  store          CHAR(36) CHARACTER SET ascii NOT NULL COMMENT 'the name of the store, a UUID, for ever',
  epoch          BIGINT UNSIGNED  NOT NULL  COMMENT 'of this placement; 1 is the first',
  phase          VARBINARY(9)     NOT NULL  COMMENT 'settled, announced, moving, sweeping',
  members        TEXT CHARACTER SET ascii NOT NULL COMMENT 'who own, id:weight, as in 1:1 2:1',
  replicas       SMALLINT UNSIGNED NOT NULL COMMENT 'owners of a pair; 0 = all members',
  other_members  TEXT CHARACTER SET ascii NOT NULL COMMENT 'announced: who will own; moving: who did',
  other_replicas SMALLINT UNSIGNED NOT NULL,
  gone           TEXT CHARACTER SET ascii NOT NULL COMMENT 'ids that were forgotten and never come back',
  since          BIGINT UNSIGNED  NOT NULL  COMMENT 'when this epoch came here, milliseconds since 1970 UTC'
) ENGINE=InnoDB;

-- The sherd-servers that are running: sync changes nothing that one of them does not know yet.
CREATE TABLE IF NOT EXISTS servers (
  id      BIGINT UNSIGNED   NOT NULL PRIMARY KEY  COMMENT 'of the process, by chance',
  host    VARBINARY(255)    NOT NULL,
  pid     INT UNSIGNED      NOT NULL,
  version VARBINARY(32)     NOT NULL  COMMENT 'of the program',
  epoch   BIGINT UNSIGNED   NOT NULL  COMMENT 'of the placement by which it works',
  reaches TEXT CHARACTER SET ascii NOT NULL COMMENT 'ids of the partitions that it can reach',
  seen    BIGINT UNSIGNED   NOT NULL  COMMENT 'when it wrote this, milliseconds since 1970 UTC'
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS sherd_schema (
  version INT UNSIGNED NOT NULL PRIMARY KEY
) ENGINE=InnoDB;

DELIMITER //

-- Brings a store of an older schema here, with its data, its log and its cursors. A step that was
-- done before, or was interrupted, is not done twice.
CREATE OR REPLACE PROCEDURE sherd_upgrade()
IF EXISTS (SELECT 1 FROM information_schema.columns
           WHERE table_schema = DATABASE() AND table_name = 'changes' AND column_name = 'k') THEN
  -- `touched` comes as NULL first: the rows that are there have their versions.
  ALTER TABLE pairs
    DROP INDEX IF EXISTS by_slot, DROP INDEX IF EXISTS by_slot_version_expires, DROP COLUMN IF EXISTS slot,
    ADD COLUMN IF NOT EXISTS seq BIGINT UNSIGNED NOT NULL DEFAULT 0
      COMMENT 'changes.seq of the entry that speaks for this row',
    ADD COLUMN IF NOT EXISTS hash INT UNSIGNED NOT NULL DEFAULT (CRC32(k)) COMMENT 'the slot is hash & 16383',
    ADD COLUMN IF NOT EXISTS touched TIMESTAMP(6) NULL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS ends BIGINT UNSIGNED AS (IF(v IS NULL, 1, expires)) STORED
      COMMENT 'alive: 0, or in the future';
  ALTER TABLE pairs
    MODIFY touched TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
      COMMENT 'not NULL: SQL wrote the row last, and it has not got its version yet',
    MODIFY expires BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'milliseconds since 1970 UTC; 0 = never',
    ADD KEY IF NOT EXISTS touched (touched), ADD KEY IF NOT EXISTS ends (ends),
    ADD CONSTRAINT IF NOT EXISTS the_key_is_empty CHECK (k <> ''),
    ADD CONSTRAINT IF NOT EXISTS touched_is_not_a_time CHECK (touched > 0),
    ADD CONSTRAINT IF NOT EXISTS a_key_cannot_be_renamed_use_INSERT_and_DELETE CHECK (hash = CRC32(k));
  ALTER TABLE sherd_partition
    ADD COLUMN IF NOT EXISTS trimmed BIGINT UNSIGNED NOT NULL DEFAULT 0
      COMMENT 'changes.seq up to which entries of the log may be gone';
  ALTER TABLE sherd_partition
    MODIFY verified VARBINARY(512) NOT NULL DEFAULT ''
      COMMENT 'the key behind which the next pass goes on to compare';
  -- The last entry of a key is the one that speaks for its row.
  UPDATE pairs JOIN (SELECT k, MAX(seq) AS last FROM changes GROUP BY k) AS entry USING (k)
    SET pairs.seq = entry.last, pairs.touched = pairs.touched; -- SQL may have written the row since
  -- Else a tombstone's expiry would end the value that an UPDATE gives it.
  UPDATE pairs SET expires = 0, touched = touched WHERE v IS NULL AND expires = 1;
  -- Last, for it says that all of this is done.
  ALTER TABLE changes ADD COLUMN IF NOT EXISTS ks MEDIUMBLOB NOT NULL DEFAULT '';
  UPDATE changes SET ks = CONCAT(LENGTH(k), IF(op & 127 = 1, '=', '-'), k), op = 1 | op & 128
  WHERE k <> '' AND ks = '';
  ALTER TABLE changes
    DROP COLUMN k, MODIFY op TINYINT UNSIGNED NOT NULL
      COMMENT '0 = filler, 1 = written here, 129 = applied from another partition' AFTER seq,
    MODIFY version BIGINT UNSIGNED NOT NULL COMMENT 'that the batch was given',
    MODIFY ks MEDIUMBLOB NOT NULL
      COMMENT 'the keys, each behind its length and = (put) or - (removed): 5=hello3-bye';
END IF //

-- sherd_log begins a batch of the server: it writes the batch's log entry, whose number it leaves in
-- @sherd_seq, and returns the batch's version. `least_us` is the least time that the version may
-- have. A clock beyond `most_us` has run away, or the partition was frozen when the batch came.
-- `epoch_` is that of the placement by which the batch comes here; NULL: whatever it is, it belongs
-- here. The lock keeps the placement until the batch is committed.
-- (READS SQL DATA is what a server with a binary log wants to hear; it is not held to it.)
CREATE OR REPLACE FUNCTION sherd_log(keys_ MEDIUMBLOB, id SMALLINT UNSIGNED, least_us BIGINT UNSIGNED,
                                     most_us BIGINT UNSIGNED, epoch_ BIGINT UNSIGNED)
RETURNS BIGINT UNSIGNED READS SQL DATA
BEGIN
  DECLARE now_us BIGINT UNSIGNED DEFAULT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6));
  IF epoch_ IS NOT NULL AND NOT epoch_ <=> (SELECT epoch FROM placement LOCK IN SHARE MODE) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30005, MESSAGE_TEXT = 'the placement is another one';
  END IF;
  IF now_us > most_us THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30004, MESSAGE_TEXT = 'the clock of the partition has run away';
  END IF;
  INSERT INTO changes (op, version, ks) VALUES (1, GREATEST(now_us, least_us) << 10 | id, keys_);
  SET @sherd_seq = LAST_INSERT_ID();
  RETURN GREATEST(now_us, least_us) << 10 | id;
END //

-- sherd_here returns the key if the placement is that of the epoch: a condition that no row meets
-- calls no sherd_log, and is decided all the same.
CREATE OR REPLACE FUNCTION sherd_here(key_ VARBINARY(512), epoch_ BIGINT UNSIGNED)
RETURNS VARBINARY(512) DETERMINISTIC READS SQL DATA
BEGIN
  IF NOT epoch_ <=> (SELECT epoch FROM placement LOCK IN SHARE MODE) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30005, MESSAGE_TEXT = 'the placement is another one';
  END IF;
  RETURN key_;
END //

-- sherd_log_applied begins a batch of rows that bring their versions, from `oldest` to `newest`. It
-- returns the number of the batch's log entry. A server may not bring back what may have been
-- purged; sync passes UINT64_MAX for `oldest`.
CREATE OR REPLACE FUNCTION sherd_log_applied(keys_ MEDIUMBLOB, oldest BIGINT UNSIGNED, newest BIGINT UNSIGNED)
RETURNS BIGINT UNSIGNED READS SQL DATA
BEGIN
  DECLARE now_us BIGINT UNSIGNED DEFAULT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6));
  IF newest >> 10 > now_us + 5000000 THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001, MESSAGE_TEXT = 'version more than 5 s in the future';
  ELSEIF oldest < (SELECT floor FROM sherd_partition) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30002, MESSAGE_TEXT = 'version below the floor of purged tombstones';
  ELSEIF keys_ IS NULL THEN -- a partition that nobody follows yet
    RETURN 0;
  END IF;
  INSERT INTO changes (op, version, ks) VALUES (129, now_us << 10, keys_);
  RETURN LAST_INSERT_ID();
END //

-- sherd_applied is asked of each row that was applied, while it is locked: whether SQL removed the
-- row later. A DELETE may have made it wait.
CREATE OR REPLACE FUNCTION sherd_applied(key_ VARBINARY(512), version_ BIGINT UNSIGNED)
RETURNS BIGINT UNSIGNED READS SQL DATA
BEGIN
  IF version_ <= (SELECT version FROM removed WHERE k = key_) THEN
    SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30003, MESSAGE_TEXT = 'SQL removed the row later';
  END IF;
  RETURN version_;
END //

-- sherd_diverted records that this partition took a write of `version_` for `target`, and returns
-- the version.
CREATE OR REPLACE FUNCTION sherd_diverted(target_ SMALLINT UNSIGNED, version_ BIGINT UNSIGNED)
RETURNS BIGINT UNSIGNED READS SQL DATA
BEGIN
  INSERT INTO diverts (target, writer, version) VALUES (target_, CONNECTION_ID(), version_)
  ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));
  RETURN version_;
END //

-- sherd_bury makes tombstones of up to `most` rows that SQL deleted, with keys behind `after_`, and
-- returns how many notes of `removed` it worked off. Where there is a row again that stays. If its version is below the
-- removal's (the version of its forerunner lay in the future) it is given the next one, not the
-- present time: it must not overtake what was written elsewhere since. A row that is unstamped is
-- given its version first, above that of the note. Removals that lie in the future stay for later.
CREATE OR REPLACE FUNCTION sherd_bury(id SMALLINT UNSIGNED, after_ VARBINARY(512), most INT)
RETURNS INT READS SQL DATA
BEGIN
  DECLARE at_end, found, gone INT DEFAULT 0;
  DECLARE key_ VARBINARY(512);
  DECLARE removal, entry BIGINT UNSIGNED;
  DECLARE keys_ MEDIUMBLOB DEFAULT '';
  DECLARE now_us BIGINT UNSIGNED DEFAULT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6));
  DECLARE page CURSOR FOR
    SELECT k, version FROM removed WHERE k > after_ AND version >> 10 < now_us + 4000000
    ORDER BY k LIMIT most FOR UPDATE SKIP LOCKED;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET at_end = 1;
  INSERT INTO changes (op, version, ks) VALUES (1, now_us << 10 | id, '');
  SET entry = LAST_INSERT_ID();
  OPEN page;
  every_note: LOOP
    FETCH page INTO key_, removal;
    IF at_end THEN
      LEAVE every_note;
    END IF;
    INSERT INTO pairs (k, v, type, version, created, expires, seq, touched)
    VALUES (key_, NULL, '', removal, removal, 0, entry, NULL)
    ON DUPLICATE KEY UPDATE
      seq     = IF(touched IS NULL AND version <= removal, entry, seq),
      version = IF(seq = entry, ((removal >> 10) + 1) << 10 | id, version),
      touched = touched;
    SET found = ROW_COUNT(); -- 0: a row that stays as it is, 1: none, 2: one that was given a version
    IF found THEN
      SET keys_ = CONCAT(keys_, LENGTH(key_), IF(found = 1, '-', '='), key_);
    END IF;
    DELETE FROM removed WHERE k = key_ AND version = removal
      AND NOT EXISTS (SELECT 1 FROM pairs WHERE pairs.k = key_ AND touched IS NOT NULL);
    SET gone = gone + ROW_COUNT();
  END LOOP;
  CLOSE page;
  UPDATE changes SET ks = keys_, op = keys_ <> '' WHERE seq = entry;
  RETURN gone;
END //


-- What the server looks at when it connects: the account that it uses may not see triggers itself.
CREATE OR REPLACE FUNCTION sherd_triggers() RETURNS INT READS SQL DATA SQL SECURITY DEFINER
RETURN (SELECT COUNT(*) FROM information_schema.triggers
        WHERE event_object_schema = DATABASE() AND event_object_table = 'pairs'
          AND trigger_name = 'pairs_after_delete') //

-- SQL clients that write meanwhile wait: each row that they change has a version or waits for one.
-- Schemas before 4 had triggers that gave versions and wrote the log.
LOCK TABLES pairs WRITE, changes WRITE, removed WRITE, sherd_partition WRITE //
DROP TRIGGER IF EXISTS pairs_before_insert //
DROP TRIGGER IF EXISTS pairs_before_update //
DROP TRIGGER IF EXISTS pairs_after_insert //
DROP TRIGGER IF EXISTS pairs_after_update //
CALL sherd_upgrade() //

-- What SQL deletes is noted: a trigger may not write its own table. @sherd_purges is set by sync,
-- whose deletions are no news. The removal's version is greater than the row's, and less than that
-- of the row that the same statement puts in its place (REPLACE). A version that SQL has put far
-- into the future counts for nothing.
CREATE OR REPLACE TRIGGER pairs_after_delete AFTER DELETE ON pairs FOR EACH ROW
BEGIN
  DECLARE now_us BIGINT UNSIGNED DEFAULT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6));
  IF @sherd_purges IS NULL THEN
    INSERT INTO removed (k, version)
    VALUES (OLD.k, GREATEST((now_us << 10) - 1,
                            IF(OLD.version >> 10 < now_us + 86400000000,
                               OLD.version + IF(OLD.touched IS NULL, 1, 1025), 0))) -- above its effective one
    ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version));
  END IF;
END //

UNLOCK TABLES //
DROP PROCEDURE sherd_upgrade //

DELIMITER ;

REPLACE INTO sherd_schema (version) VALUES (4);
DELETE FROM sherd_schema WHERE version < 4;
GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON test_sherd.* TO sherd;
