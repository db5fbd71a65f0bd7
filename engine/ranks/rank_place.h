#pragma once

// Which of how many ranks this process is, and where the ranks meet: what launchers leave in the environment.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace koine {

struct RankPlace {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  ///< among the ranks of this machine
  int local_size = 1;
  std::string launcher;  ///< "torchrun", "mpirun", "srun": whose variables these are
  /// A folder that all ranks see; empty: they meet at `host`:`port`, where rank 0 listens.
  std::filesystem::path folder;
  std::string host;
  int port = 0;
  std::string run;       ///< the same for all ranks of a run, another for another run that meets at the same place
  std::string address;   ///< at which the others reach this rank; empty: found out
  double timeout = 30;   ///< seconds: a rank that is silent or late for so long is given up
  double meeting = 300;  ///< seconds that ranks wait for one another at the start
};

/// A variable of the environment; nothing where it is not set or empty.
using Variables = std::function<std::optional<std::string>(const std::string& name)>;
Variables environment();

/// The first that is there of
///   RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE                        torchrun, or by hand
///   OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE                 mpirun
///   SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, SLURM_NTASKS_PER_NODE      srun
/// Where they meet: KOINE_RANKS_FOLDER, a folder; else rank 0's machine, MASTER_ADDR (of srun: the first of
/// SLURM_STEP_NODELIST; of mpirun on one machine: 127.0.0.1), at KOINE_RANKS_PORT; else the port behind MASTER_PORT, where
/// torchrun's own agent listens (PyTorch issue 63874); else one made of the job's number. KOINE_RANKS_ADDRESS: where this
/// rank is reached. KOINE_RANKS_TIMEOUT, KOINE_RANKS_MEETING: in seconds. UserError naming the variable that is missing or
/// is not what it should be.
RankPlace find_rank_place(const Variables& variables);

}  // namespace koine
