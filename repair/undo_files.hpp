// Where undo files lie and what they are called. Promises: nothing is replaced; a file that cannot be told from an
// interrupted one is an error, never passed over.
//
// An undo file lies beside its image as IMAGE.cowvet-undo, the next ones as IMAGE.cowvet-undo.2 and so on; links are
// followed first, so that all names of an image have the same ones. Those of a block device lie in the current
// folder, since what lies beside devices is gone with the next start of the machine. While an image changes whose undo
// file lies elsewhere, a link of such a name leads there: what is interrupted then is found again.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "repair/apply.hpp"
#include "repair/undo_file.hpp"
#include "storage/overlay.hpp"

namespace cowvet::repair {

// Of the image, newest first. Errors: io, when the folder can't be listed.
[[nodiscard]] base::Result<std::vector<std::string>> undo_files_of(const std::string& image);

// The name of the image's next undo file. Errors as undo_files_of().
[[nodiscard]] base::Result<std::string> new_undo_file(const std::string& image);

// The undo files of the image whose change, or whose taking back, was interrupted: to be given to recover()
// in this order. Errors: as undo_files_of(); wrong_format and io, when one of them can't be read, with its
// name; not_found, when a link to one leads nowhere.
[[nodiscard]] base::Result<std::vector<std::string>> interrupted_undo_files(const std::string& image);

// The image that `undo_file` names as `stored`. Where that is gone, one of its name beside the undo file:
// both were moved.
[[nodiscard]] std::string image_of(const std::string& undo_file, const std::string& stored);

// What an undo file with this name says of this image.
[[nodiscard]] UndoIdentity identity_of(const std::string& image, const std::string& undo_file,
                                       std::string cause);

// Makes the file `image`, open as `device`, what `wanted` shows, with a new undo file of that name. Errors: as apply();
// usage: there is such a file already.
[[nodiscard]] base::Result<Applied> apply_to_file(const std::string& image, storage::Device& device,
                                                  const storage::Overlay& wanted,
                                                  const std::string& undo_file, std::string cause,
                                                  base::Progress& progress);

}  // namespace cowvet::repair
