// An image and the backing files below it, opened for reading. Promises: names become paths as QEMU makes them; a chain
// that comes back to itself is an error, not a hang. Other programs' chains are data: nothing is written.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/info.hpp"
#include "base/result.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

struct Layer {
  std::string file;  // as it was opened
  std::unique_ptr<storage::Device> device;
  Info info;
  std::unique_ptr<storage::Device> data_file =
      {};  // of an external data file, once it is asked for and can be opened
};

using Open = std::function<base::Result<std::unique_ptr<storage::Device>>(const std::string& file)>;

// The layers from the top on; only the top unless `whole`. An error of a lower layer says which file it is about.
[[nodiscard]] base::Result<std::vector<Layer>> open_chain(const std::string& file, Format top, bool whole,
                                                          const Open& open);

// Opens the external data files of the layers, under the names that QEMU uses: relative to the folder that the program
// runs in. One that can't be opened stays away: where its holes are isn't known then.
void open_data_files(std::vector<Layer>& layers, const Open& open);

}  // namespace cowvet::analyzer
