// Operations on the files of a chain (commit, rebase, pull), and what they share. Promises: an operation is
// first prepared, which writes nothing and says exactly what will be done and what it takes; done, it writes
// the one header that changes the chain last, when all that it relies on is durable. Until then every layer
// that is told as valid reads as before, whatever happens; afterwards too. Ended half way, the same operation
// prepared again goes on from where it was.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/chain.hpp"
#include "engine/copy_source.hpp"

namespace cowvet::engine {

struct LayerState {
  std::string file;
  ImageFormat format = ImageFormat::raw;
  std::uint64_t size = 0;  // bytes of the disk
};

// Bytes by which a file may grow at most.
struct SpaceNeed {
  std::string file;
  std::uint64_t bytes = 0;
};

// What will be done.
struct EditPlan {
  std::vector<LayerState> before, after;  // the chain, top first
  std::vector<std::string>
      changed;  // files that show something else afterwards: so do other overlays of theirs
  std::vector<std::string>
      invalid;                      // files that can't be used afterwards, since what lies below them changed
  std::vector<std::string> unused;  // files that the chain does not need any more
  std::vector<std::string> hazards;  // what would be lost that is worth asking about first
  std::uint64_t copied = 0;    // bytes read and written at most: what turns out to be zeros is not written
  std::uint64_t zeroed = 0;    // bytes known to be zeros that must be said to be so
  std::uint64_t compared = 0;  // bytes read on both sides, and written where they differ
  std::vector<SpaceNeed> needs;
};

struct EditOptions {
  unsigned jobs = 0;       // threads; 0: as many as there are cores
  std::uint64_t rate = 0;  // bytes read a second at most; 0: no limit
};

class ChainEdit {
 public:
  ChainEdit() = default;
  ChainEdit(const ChainEdit&) = delete;
  ChainEdit& operator=(const ChainEdit&) = delete;
  virtual ~ChainEdit() = default;

  [[nodiscard]] const EditPlan& plan() const { return plan_; }
  // Once. Errors name the file that they are about; cancelled: `progress` was asked to stop. Whatever the error is,
  // the chain reads as before, and the operation can be prepared again.
  [[nodiscard]] virtual base::Result<void> run(const EditOptions& options, base::Progress& progress) = 0;

 protected:
  EditPlan plan_;
};

// What follows serves the operations.

// The layers from `top` on down.
[[nodiscard]] std::vector<OpenImage*> layers_of(OpenImage& top);
[[nodiscard]] LayerState state_of(OpenImage& layer);
// Whether two openings are of the same file.
[[nodiscard]] bool same_layer(OpenImage& one, OpenImage& other);
// The layer that `name` means: as it was opened, as the layer above it stores it, or by another name of the same file.
// Null: it is in no place of this chain.
[[nodiscard]] OpenImage* find_layer(OpenImage& top, const std::string& name, const OpenFile& open);
[[nodiscard]] std::string_view format_word(ImageFormat format);

// A layer as it was when it was looked at first: so that what others did to it meanwhile is noticed.
class SeenLayers {
 public:
  void remember(OpenImage& top, const OpenImage* stop = nullptr);
  // Error in_use: one was changed since.
  [[nodiscard]] base::Result<void> same_still() const;

 private:
  struct Seen {
    OpenImage* layer;
    std::optional<storage::Identity> state;
  };
  std::vector<Seen> seen_;
};

// Adds to `plan` what copying `source` over `target` moves, and the space that the target's files need for
// it; what lies behind the source, up to `zero_end`, becomes zeros.
[[nodiscard]] base::Result<void> add_costs(EditPlan& plan, CopySource& source, OpenImage& target,
                                           std::uint64_t zero_end = 0);

// Adds the space that another backing file's name needs: the first cluster is written anew, and may have been
// a hole for the most part.
void add_header_cost(EditPlan& plan, OpenImage& image);

// The name under which `image` is to name `file`, which `below` stores as `stored`: it is tried out. Error
// usage: no name leads there.
[[nodiscard]] base::Result<std::string> name_for(OpenImage& image, OpenImage& file,
                                                 const std::optional<std::string>& stored,
                                                 const OpenFile& open);

}  // namespace cowvet::engine
