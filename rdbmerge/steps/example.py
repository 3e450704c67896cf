"""The example of a run file that `init` writes: every key there is, with what it means and what it is without."""

from __future__ import annotations

EXAMPLE = """\
# A run of rdbmerge: many servers become one file, proved, and then a cache or a live server.
#
#   rdbmerge check FILE           look whether everything is ready
#   rdbmerge run FILE --dry-run   see what would be done
#   rdbmerge run FILE             do it; again after a failure: it goes on
#
# Text after "# " explains. A line that begins with "#" and no blank is a key that is not set, with an example value:
# take the "#" away to set it. ${NAME} in a value stands for the environment variable NAME; write $${NAME} for the
# text itself. Paths are those from the folder of this file. Times: 3h, -15m, 1d12h. Sizes: 512k, 64MB, 1.5GB.

[run]
# The work directory, which remembers what is done. Made if need be (0700).
dir = "migration-work"
# Threads for work on files. Without it: one a processor.
#jobs = 4
# The report as JSON (0600), besides report.json in the work directory.
#report = "migration-report.json"

# --- Sources: one [[source]] each. Their order is that of precedence, where conflicts are settled by it. ---

[[source]]
# What it is called in reports, and its snapshot in the work directory. Without it: as the address.
name = "orders"
# host:port, redis://host:port, rediss:// (TLS), unix:///path, redis-sentinel://host:port,host:port/service,
# or redis-cluster://host:port: any node of a cluster, all of whose shards are taken.
address = "10.0.0.1:6379"
# ACL user (Redis 6.0 and later) and password. password_file = "path" instead of it takes it from a file.
#user = "migration"
#password = "${ORDERS_PASSWORD}"

# What holds for this source alone; without it, what [merge] says.
# Added to every expiry of keys and hash fields.
#ttl_offset = "3h"
# Give each key, at this time, the life it had left at its snapshot.
#ttl_freeze_until = 2026-11-23T02:00:00Z
# When the snapshot was taken, if it is not as it is known from the pull or the file.
#snapshot_time = 2026-11-22T23:00:00Z
# Leave out keys that were dead when the snapshot was taken.
#drop_expired = true
# Move dbs: source db = db in the merged file.
#db_map = { 1 = 0, 2 = 5 }
# Take only these dbs, these types (string list set zset hash stream module array), these keys.
#dbs = [0, 1, 2]
#types = ["string", "hash"]
# glob:... as Redis' KEYS has it, or re:... a regular expression searched anywhere in the key.
#include_keys = ["glob:user:*", "re:^session:[0-9]+$"]
#exclude_keys = ["glob:tmp:*"]
# Put before every key, after the filters.
#key_prefix = "orders:"

# How it is pulled. "scan" asks for key after key where replication is forbidden: no snapshot of one moment.
#via = "replication"
# Of a cluster or a service of sentinels: take replicas.
#prefer_replica = true
# The commands of replication, where they are renamed.
#psync_command = "PSYNC"
#sync_command = "SYNC"
#replconf_command = "REPLCONF"

#[[source]]
#name = "sessions"
#address = "rediss://sessions.internal:6380"
#password_file = "sessions.password"
# TLS: the authority that the server must show, our certificate and its key (PEM), the name in its certificate.
#tls_ca = "ca.pem"
#tls_cert = "client.pem"
#tls_key = "client.key"
#tls_sni = "sessions.example.com"
# Do not check its certificate.
#tls_insecure = false
# Go through this SSH server: [user@]host[:port], or a Host of your SSH configuration.
#ssh = "ops@bastion.example.com"
#ssh_config = "ssh_config"

#[[source]]
#name = "carts"
#address = "redis-sentinel://10.0.0.5:26379,10.0.0.6:26379/carts"
#sentinel_user = "sentinel"
#sentinel_password = "${SENTINEL_PASSWORD}"

#[[source]]
# An RDB file instead of a server.
#name = "archive"
#file = "archive.rdb"
#key_prefix = "archive:"

[pull]
# Sources at once; and of one machine, each of which forks and may double its memory.
#jobs = 8
#jobs_per_host = 1
# Bytes a second, of all sources together.
#max_bandwidth = "100MB"
# For a connection; silence in the middle of a transfer; how long a source may take to make its snapshot.
#connect_timeout = "10s"
#timeout = "1m"
#header_timeout = "1h"
# Ask a source again that loads its data, or has lost its primary, for so long.
#retry_for = "1m"

[merge]
# Where the merged file goes. Without it: merged.rdb in the work directory.
#output = "merged.rdb"
# What is to load it (rdbmerge targets lists all): values are re-encoded for it where need be.
#target = "elasticache-valkey-8.1"
# What becomes of what the target cannot hold: fail, skip the key, or strip what cannot be held of it.
#on_unsupported = "fail"
# Which entry wins when two sources hold one key: fail, first, last, longest-ttl.
on_conflict = "fail"
# One file for each shard of a cluster; slots says the slots of each, and shards shares them out evenly.
#shards = 3
#slots = "0-5460,5461-10922,10923-16383"
# The rules for all sources that have none of their own.
#ttl_offset = "0s"
#ttl_freeze_until = 2026-11-23T02:00:00Z
#snapshot_time = 2026-11-22T23:00:00Z
#drop_expired = true
#db_map = { 1 = 0 }
#dbs = [0, 1]
#types = ["string", "list", "set", "zset", "hash", "stream"]
#include_keys = ["*"]
#exclude_keys = ["glob:tmp:*"]
#key_prefix = ""

[verify]
# counts: structure, CRC-64, keys per db; digest: also every key, type, value and expiry; full: also byte by byte.
level = "digest"
# Another program to ask: rdbtools (RDB up to 9), server (a scratch server loads the file), none.
#witness = "none"
#witness_server = "/usr/bin/redis-server"

# --- Where it goes. Each of the three tables is a step of the run, if it is there. ---

#[upload]
# The object; with a / at its end the folder of objects, one a shard.
#url = "s3://seeds/migration/"
# Who is to read it: elasticache or memorydb; and whether to let them, by an ACL or the bucket's policy.
#service = "elasticache"
#grant = true
# Replace an object that this run did not put there.
#force = false
# Parts at once, and their size. Without it: 64 MB, more for above 625 GB.
#jobs = 10
#part_size = "64MB"
# Credentials, region and endpoint; without them, as for the AWS CLI.
#profile = "default"
#region = "eu-west-1"
#endpoint_url = "https://s3.eu-west-1.amazonaws.com"

#[seed]
# The new cache. Instead of it: serverless_cache_name = "sessions", or memorydb_cluster = "sessions".
#replication_group_id = "sessions"
#engine = "valkey"
#engine_version = "8.1"
#node_type = "cache.r7g.large"
# Cluster mode with so many shards, or the slots of each. Without it: as the files are shared out.
#shards = 3
#slots = "0-5460,5461-10922,10923-16383"
#replicas = 1
#subnet_group = "private"
#security_group_ids = ["sg-0123456789abcdef0"]
# subnet_ids = ["subnet-0123456789abcdef0"] is for Serverless, acl = "open-access" for MemoryDB.
#parameter_group = "default.valkey8.cluster.on"
#tls = true
# Of replication groups; auth_token_file = "path" instead of it takes it from a file.
#auth_token = "${AUTH_TOKEN}"
#kms_key_id = "alias/cache"
#tags = { team = "platform" }
# More parameters of the API: in a file of TOML or JSON, or here.
#from_file = "request.toml"
#request = { PreferredMaintenanceWindow = "sun:03:00-sun:04:00" }
# Without this word the cache is only planned, and nothing is made that costs money.
#execute = false
# Wait until it is there, for so long, looking so often.
#wait = true
#wait_timeout = "2h"
#poll = "20s"
# Of a stand-in for ElastiCache or MemoryDB.
#cache_endpoint_url = "https://elasticache.eu-west-1.amazonaws.com"

#[restore]
# A live server, or any node of a cluster: as the address of a source. Then user, password, tls_ca, ssh, ... as there.
#url = "rediss://10.0.0.9:6379"
#user = "migration"
#password = "${TARGET_PASSWORD}"
# What becomes of a key that is there: fail, skip or replace. Must be given for a target that is not empty.
#on_busy = "fail"
# Connections to each primary; larger values are sent item by item.
#connections = 4
#big_key = "32MB"
# Commands and bytes a second, of all connections; slow down while a PING takes so much longer than before.
#max_qps = 100000
#max_bandwidth = "100MB"
#max_latency = "50ms"
# How long to wait for a target that is full, loading, read-only or away; for its silence; for a connection.
#retry_for = "5m"
#timeout = "1m"
#connect_timeout = "10s"
"""
