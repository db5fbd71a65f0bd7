#include "engine/ranks/rank_place.h"

#include <charconv>
#include <cstdlib>

#include "kernels/common/check.h"

namespace koine {

namespace {

struct LauncherNames {
  const char* launcher;
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;
  const char* job;  ///< names the run
};

constexpr LauncherNames kLaunchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"},
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
     "PMIX_NAMESPACE"},
    {"srun", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE", "SLURM_JOB_ID"},
};

int whole_number(const std::string& name, const std::string& text, int minimum, int maximum) {
  int value = 0;
  const std::from_chars_result read = std::from_chars(text.data(), text.data() + text.size(), value);
  require(read.ec == std::errc() && read.ptr == text.data() + text.size() && value >= minimum && value <= maximum, name,
          " is \"", text, "\"; it must be a whole number from ", minimum, " to ", maximum);
  return value;
}

int whole_number_of(const Variables& variables, const char* name, int otherwise, int minimum, int maximum) {
  const std::optional<std::string> text = variables(name);
  return text.has_value() ? whole_number(name, *text, minimum, maximum) : otherwise;
}

double seconds_of_variable(const Variables& variables, const char* name, double otherwise) {
  const std::optional<std::string> text = variables(name);
  if (!text.has_value()) return otherwise;
  double value = 0;
  const std::from_chars_result read = std::from_chars(text->data(), text->data() + text->size(), value);
  require(read.ec == std::errc() && read.ptr == text->data() + text->size() && value >= 0.5 && value <= 1e6, name, " is \"",
          *text, "\"; it must be seconds, from 0.5 to 1000000");
  return value;
}

/// "node[03-07,9]" or "node03,node04" -> "node03": as SLURM writes lists of machines.
std::string first_machine(const std::string& list) {
  const std::size_t bracket = list.find('[');
  const std::size_t comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  const std::size_t end = list.find_first_of(",-]", bracket + 1);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1);
}

/// A port above those of services and below those given to whoever asks for any.
int port_of_run(const std::string& run) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : run) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return 20000 + static_cast<int>(hash % 12000);
}

void find_meeting_point(const Variables& variables, const LauncherNames& names, RankPlace& place) {
  if (const std::optional<std::string> folder = variables("KOINE_RANKS_FOLDER")) {
    place.folder = *folder;
    return;
  }
  const std::string launcher = names.launcher;
  const std::optional<std::string> nodes = launcher == "srun" ? variables("SLURM_STEP_NODELIST") : std::nullopt;
  if (const std::optional<std::string> host = variables("MASTER_ADDR")) {
    place.host = *host;
  } else if (nodes.has_value()) {
    place.host = first_machine(*nodes);
  } else if (place.local_size == place.size) {
    place.host = "127.0.0.1";
  } else {
    fail_user("there are ", place.size, " ranks by ", names.size,
              ", but nothing says where they meet: set MASTER_ADDR to the ",
              "machine of rank 0, or KOINE_RANKS_FOLDER to a folder that all machines see");
  }
  const int master = whole_number_of(variables, "MASTER_PORT", 0, 1, 65534);
  const int otherwise = master > 0 ? master + 1 : port_of_run(place.run);
  place.port = whole_number_of(variables, "KOINE_RANKS_PORT", otherwise, 1, 65535);
  require(place.port != master, "KOINE_RANKS_PORT is MASTER_PORT, ", master,
          ", where torchrun listens itself; choose another");
}

}  // namespace

Variables environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
}

RankPlace find_rank_place(const Variables& variables) {
  for (const LauncherNames& names : kLaunchers) {
    const std::optional<std::string> rank = variables(names.rank);
    const std::optional<std::string> size = variables(names.size);
    if (!rank.has_value() || !size.has_value()) continue;
    RankPlace place;
    place.launcher = names.launcher;
    place.size = whole_number(names.size, *size, 1, 1 << 20);
    place.rank = whole_number(names.rank, *rank, 0, place.size - 1);
    // Who starts ranks by hand and says nothing of machines has one.
    place.local_rank = whole_number_of(variables, names.local_rank, place.rank, 0, 1 << 20);
    place.local_size = whole_number_of(variables, names.local_size, place.size, 1, 1 << 20);
    place.run = variables("KOINE_RANKS_RUN").value_or(variables(names.job).value_or("run"));
    place.address = variables("KOINE_RANKS_ADDRESS").value_or("");
    place.timeout = seconds_of_variable(variables, "KOINE_RANKS_TIMEOUT", place.timeout);
    place.meeting = seconds_of_variable(variables, "KOINE_RANKS_MEETING", place.meeting);
    if (place.size > 1) find_meeting_point(variables, names, place);
    return place;
  }
  fail_user("no launcher says which rank this process is: neither RANK and WORLD_SIZE (torchrun, or by hand) nor ",
            "OMPI_COMM_WORLD_RANK (mpirun) nor SLURM_PROCID (srun) is set; --ranks N starts N local ranks itself");
}

}  // namespace koine
