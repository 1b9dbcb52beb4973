-- SPDX-License-Identifier: MIT
-- Everything that Sherd needs in a partition (MariaDB 10.6 or later). Load it as an administrator,
-- on each server:   mariadb < database_definition.sql
-- It may be loaded again at any time: data stays, triggers are made anew.
--
-- It makes two databases, sherd and test_sherd (for SHERD_ENV=test), whose definitions below are
-- the same but for the name, and an account `sherd` that may read and write rows and nothing else.
-- Nobody can log in to it before you give it a password:
--   mariadb -e "SET PASSWORD FOR sherd = PASSWORD('...')"

SET NAMES utf8mb4;
SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';
CREATE USER IF NOT EXISTS sherd IDENTIFIED VIA mysql_native_password USING 'invalid';

-- ---------------------------------------------------------------- the live database
CREATE DATABASE IF NOT EXISTS sherd;
USE sherd;

CREATE TABLE IF NOT EXISTS pairs (
  k       VARBINARY(512)    NOT NULL PRIMARY KEY,
  v       LONGBLOB          NULL                COMMENT 'the value; NULL = tombstone',
  type    VARBINARY(128)    NOT NULL DEFAULT 'application/octet-stream',
  version BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT '(microseconds since 1970 UTC << 10) | partition id',
  created BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'the version at which this life of the key began',
  expires BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'milliseconds since 1970 UTC; 0 = never, 1 = tombstone',
  slot    SMALLINT UNSIGNED AS (CRC32(k) & 16383) STORED,
  KEY by_slot (slot, version)
) ENGINE=InnoDB;

-- What changed, in the order in which it began to change: a hint for sync and the feed, never the
-- truth, which is the row in pairs.
CREATE TABLE IF NOT EXISTS changes (
  seq     BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT PRIMARY KEY,
  version BIGINT UNSIGNED   NOT NULL,
  op      TINYINT UNSIGNED  NOT NULL  COMMENT '0 = filler, 1 = put, 2 = tombstone, 3 = row removed by SQL; + 128 = applied from another partition',
  k       VARBINARY(512)    NOT NULL
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS sherd_schema (
  version INT UNSIGNED NOT NULL PRIMARY KEY
) ENGINE=InnoDB;

DELIMITER //

-- The one rule that gives versions, for every writer: it only grows, whatever the clock does. A row
-- without a value is a tombstone and the other way round. Connections that apply another
-- partition's rows (@sherd_apply = 1) bring the version with them.
CREATE OR REPLACE TRIGGER pairs_before_insert BEFORE INSERT ON pairs FOR EACH ROW
IF @sherd_apply <=> 1 THEN
  IF NEW.version >> 10 > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + 5000000 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'version more than 5 s in the future';
  END IF;
ELSE
  SET NEW.version = GREATEST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
                             IFNULL(@sherd_floor, 0)) << 10 | IFNULL(@sherd_node, 0),
      NEW.created = NEW.version,
      NEW.v       = IF(NEW.expires = 1, NULL, NEW.v),
      NEW.expires = IF(NEW.v IS NULL, 1, NEW.expires);
END IF //

CREATE OR REPLACE TRIGGER pairs_before_update BEFORE UPDATE ON pairs FOR EACH ROW
IF @sherd_apply <=> 1 THEN
  IF NEW.version >> 10 > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + 5000000 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'version more than 5 s in the future';
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

CREATE OR REPLACE TRIGGER pairs_after_insert AFTER INSERT ON pairs FOR EACH ROW
INSERT INTO changes (version, op, k)
VALUES (NEW.version, IF(NEW.v IS NULL, 2, 1) | IF(@sherd_apply <=> 1, 128, 0), NEW.k) //

CREATE OR REPLACE TRIGGER pairs_after_update AFTER UPDATE ON pairs FOR EACH ROW
IF NEW.k = OLD.k THEN
  INSERT INTO changes (version, op, k)
  VALUES (NEW.version, IF(NEW.v IS NULL, 2, 1) | IF(@sherd_apply <=> 1, 128, 0), NEW.k);
ELSE -- a rename: the old key is gone like a deleted one
  INSERT INTO changes (version, op, k)
  VALUES (NEW.version, 3 | IF(@sherd_apply <=> 1, 128, 0), OLD.k),
         (NEW.version, IF(NEW.v IS NULL, 2, 1) | IF(@sherd_apply <=> 1, 128, 0), NEW.k);
END IF //

-- A trigger may not write its own table, so that DELETE only leaves a note; sync makes the tombstone.
CREATE OR REPLACE TRIGGER pairs_after_delete AFTER DELETE ON pairs FOR EACH ROW
INSERT INTO changes (version, op, k)
VALUES (GREATEST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
                 (OLD.version >> 10) + 1) << 10 | IFNULL(@sherd_node, 0),
        3 | IF(@sherd_apply <=> 1, 128, 0), OLD.k) //

-- What the server looks at when it connects: the account that it uses may not see triggers itself.
CREATE OR REPLACE FUNCTION sherd_triggers() RETURNS INT READS SQL DATA SQL SECURITY DEFINER
RETURN (SELECT COUNT(*) FROM information_schema.triggers
        WHERE trigger_schema = DATABASE() AND event_object_table = 'pairs'
          AND trigger_name IN ('pairs_before_insert', 'pairs_before_update', 'pairs_after_insert',
                               'pairs_after_update', 'pairs_after_delete')) //

DELIMITER ;

REPLACE INTO sherd_schema (version) VALUES (1);
GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON sherd.* TO sherd;

-- ---------------------------------------------------------------- the test database: the same again
CREATE DATABASE IF NOT EXISTS test_sherd;
USE test_sherd;

CREATE TABLE IF NOT EXISTS pairs (
  k       VARBINARY(512)    NOT NULL PRIMARY KEY,
  v       LONGBLOB          NULL                COMMENT 'the value; NULL = tombstone',
  type    VARBINARY(128)    NOT NULL DEFAULT 'application/octet-stream',
  version BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT '(microseconds since 1970 UTC << 10) | partition id',
  created BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'the version at which this life of the key began',
  expires BIGINT UNSIGNED   NOT NULL DEFAULT 0  COMMENT 'milliseconds since 1970 UTC; 0 = never, 1 = tombstone',
  slot    SMALLINT UNSIGNED AS (CRC32(k) & 16383) STORED,
  KEY by_slot (slot, version)
) ENGINE=InnoDB;

-- What changed, in the order in which it began to change: a hint for sync and the feed, never the
-- truth, which is the row in pairs.
CREATE TABLE IF NOT EXISTS changes (
  seq     BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT PRIMARY KEY,
  version BIGINT UNSIGNED   NOT NULL,
  op      TINYINT UNSIGNED  NOT NULL  COMMENT '0 = filler, 1 = put, 2 = tombstone, 3 = row removed by SQL; + 128 = applied from another partition',
  k       VARBINARY(512)    NOT NULL
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS sherd_schema (
  version INT UNSIGNED NOT NULL PRIMARY KEY
) ENGINE=InnoDB;

DELIMITER //

-- The one rule that gives versions, for every writer: it only grows, whatever the clock does. A row
-- without a value is a tombstone and the other way round. Connections that apply another
-- partition's rows (@sherd_apply = 1) bring the version with them.
CREATE OR REPLACE TRIGGER pairs_before_insert BEFORE INSERT ON pairs FOR EACH ROW
IF @sherd_apply <=> 1 THEN
  IF NEW.version >> 10 > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + 5000000 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'version more than 5 s in the future';
  END IF;
ELSE
  SET NEW.version = GREATEST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
                             IFNULL(@sherd_floor, 0)) << 10 | IFNULL(@sherd_node, 0),
      NEW.created = NEW.version,
      NEW.v       = IF(NEW.expires = 1, NULL, NEW.v),
      NEW.expires = IF(NEW.v IS NULL, 1, NEW.expires);
END IF //

CREATE OR REPLACE TRIGGER pairs_before_update BEFORE UPDATE ON pairs FOR EACH ROW
IF @sherd_apply <=> 1 THEN
  IF NEW.version >> 10 > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + 5000000 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'version more than 5 s in the future';
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

CREATE OR REPLACE TRIGGER pairs_after_insert AFTER INSERT ON pairs FOR EACH ROW
INSERT INTO changes (version, op, k)
VALUES (NEW.version, IF(NEW.v IS NULL, 2, 1) | IF(@sherd_apply <=> 1, 128, 0), NEW.k) //

CREATE OR REPLACE TRIGGER pairs_after_update AFTER UPDATE ON pairs FOR EACH ROW
IF NEW.k = OLD.k THEN
  INSERT INTO changes (version, op, k)
  VALUES (NEW.version, IF(NEW.v IS NULL, 2, 1) | IF(@sherd_apply <=> 1, 128, 0), NEW.k);
ELSE -- a rename: the old key is gone like a deleted one
  INSERT INTO changes (version, op, k)
  VALUES (NEW.version, 3 | IF(@sherd_apply <=> 1, 128, 0), OLD.k),
         (NEW.version, IF(NEW.v IS NULL, 2, 1) | IF(@sherd_apply <=> 1, 128, 0), NEW.k);
END IF //

-- A trigger may not write its own table, so that DELETE only leaves a note; sync makes the tombstone.
CREATE OR REPLACE TRIGGER pairs_after_delete AFTER DELETE ON pairs FOR EACH ROW
INSERT INTO changes (version, op, k)
VALUES (GREATEST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
                 (OLD.version >> 10) + 1) << 10 | IFNULL(@sherd_node, 0),
        3 | IF(@sherd_apply <=> 1, 128, 0), OLD.k) //

-- What the server looks at when it connects: the account that it uses may not see triggers itself.
CREATE OR REPLACE FUNCTION sherd_triggers() RETURNS INT READS SQL DATA SQL SECURITY DEFINER
RETURN (SELECT COUNT(*) FROM information_schema.triggers
        WHERE trigger_schema = DATABASE() AND event_object_table = 'pairs'
          AND trigger_name IN ('pairs_before_insert', 'pairs_before_update', 'pairs_after_insert',
                               'pairs_after_update', 'pairs_after_delete')) //

DELIMITER ;

REPLACE INTO sherd_schema (version) VALUES (1);
GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON test_sherd.* TO sherd;
