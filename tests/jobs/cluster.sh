# shellcheck shell=bash
# A Slurm cluster of several nodes on this host, to be sourced: own munged, slurmctld and one slurmd a node, all below
# one folder. Each slurmd has a host name of its own, so that Open MPI sees several hosts. Needs root.
#   cluster_start FOLDER NODES   waits until the nodes are idle; SLURM_CONF is set for sbatch and the others
#   cluster_stop                 ends what cluster_start has started
cluster_processes=()

# cluster_missing: prints what a cluster lacks here; nothing when it can be started
cluster_missing() {
  local program
  for program in munged slurmctld slurmd sbatch srun scontrol unshare; do
    command -v "$program" >/dev/null || echo "$program"
  done
  if [ "$(id -u)" -ne 0 ]; then
    echo "root"
  elif ! unshare -u true 2>/dev/null; then
    echo "the right to have host names of one's own"
  fi
}

cluster_configure() { # <folder> <nodes> <first port>
  local folder=$1 nodes=$2 port=$3 host
  host=$(hostname -s)
  cat >"$folder/slurm.conf" <<EOF
ClusterName=clarkia
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
TmpFS=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0
MpiDefault=pmix
ReturnToService=2
KillWait=10
MinJobAge=600
EnforcePartLimits=ALL
MailProg=/bin/true
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + nodes))] CPUs=2 RealMemory=1000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
}

cluster_start() {
  local folder=$1 nodes=$2 i port
  port=$((20000 + RANDOM % 10000))
  mkdir -p "$folder/munge" "$folder/state"
  for ((i = 1; i <= nodes; ++i)); do mkdir -p "$folder/n$i"; done
  chmod 755 "$folder" "$folder/munge"
  (umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
  munged --foreground --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --num-threads=2 \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" \
    >"$folder/munge/out" 2>&1 &
  cluster_processes+=($!)
  for ((i = 0; i < 100; ++i)); do
    [ ! -S "$folder/munge/socket" ] || break
    sleep 0.1
  done
  cluster_configure "$folder" "$nodes" "$port"
  export SLURM_CONF=$folder/slurm.conf
  slurmctld -D >"$folder/slurmctld.out" 2>&1 &
  cluster_processes+=($!)
  for ((i = 1; i <= nodes; ++i)); do
    # shellcheck disable=SC2016 # expanded inside
    unshare -u sh -c 'hostname "$0" && exec slurmd -D -N "$0"' "n$i" >"$folder/n$i/out" 2>&1 &
    cluster_processes+=($!)
  done
  for ((i = 0; i < 300; ++i)); do
    [ "$(timeout 5 sinfo --noheader --format=%D --states=idle 2>/dev/null)" != "$nodes" ] || return 0
    sleep 0.2
  done
  echo "the cluster does not come up:" >&2
  tail -n 20 "$folder/munge/out" "$folder"/slurmctld.out "$folder"/n1/out >&2
  return 1
}

cluster_stop() {
  local i
  timeout 10 scancel --full --signal=KILL --user="$(id -un)" 2>/dev/null || true
  for ((i = 0; i < 50; ++i)); do
    [ -n "$(timeout 5 squeue --noheader --states=running,completing 2>/dev/null)" ] || break
    sleep 0.2
  done
  kill "${cluster_processes[@]}" 2>/dev/null || true
  wait "${cluster_processes[@]}" 2>/dev/null || true
}
